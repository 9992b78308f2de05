"""Money in whole numbers: no cost is lost, whatever its digits."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.money import dollars, plain, plus, times, whole

COSTS = st.decimals(min_value=0, max_value=10**9, places=18)
FINE = st.decimals(min_value=0, max_value=1, places=40)


@given(COSTS)
def test_a_cost_comes_back_as_it_was(cost: Decimal) -> None:
    assert dollars(whole(cost)) == cost


@given(st.lists(COSTS, max_size=50))
def test_the_sum_of_costs_is_the_sum_of_their_units(costs: list[Decimal]) -> None:
    with localcontext(prec=200):
        assert dollars(sum(map(whole, costs))) == sum(costs)


@given(FINE)
def test_what_is_finer_than_a_unit_is_never_rounded_down(cost: Decimal) -> None:
    kept = dollars(whole(cost))
    with localcontext(prec=200):
        assert Decimal(0) <= kept - cost < Decimal("1e-24")


@given(COSTS, COSTS, st.integers(0, 1000))
def test_sums_and_multiples_lose_no_digit_in_a_narrow_context(
    one: Decimal, other: Decimal, count: int
) -> None:
    with localcontext(prec=4):
        total, several = plus(one, other), times(count, one)
    with localcontext(prec=200):
        assert total == one + other
        assert several == one * count


@pytest.mark.parametrize(("amount", "text"), [("1.50", "1.5"), ("0.00", "0"), ("100", "1E+2")])
def test_equal_amounts_are_written_alike(amount: str, text: str) -> None:
    assert str(plain(Decimal(amount))) == text


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "Infinity"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="zero or more"):
        whole(Decimal(amount))
