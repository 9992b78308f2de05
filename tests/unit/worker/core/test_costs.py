from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.costs import Price, cost
from worker.core.model import Usage

MINI = Price(input=Decimal("0.25"), output=Decimal(2), cached_input=Decimal("0.025"))
WRITES = Price(input=Decimal(4), output=Decimal(8), cache_write=Decimal(5))
EMBEDDING = Price(input=Decimal("0.02"), output=None)
MILLION = 10**6

tokens = st.integers(0, 2**53)
amounts = st.decimals(0, 10**6, places=12)
prices = st.builds(
    Price,
    input=amounts,
    output=amounts,
    cached_input=amounts | st.none(),
    cache_write=amounts | st.none(),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    plain, cached, written, made, hidden = (draw(tokens) for _ in range(5))
    return Usage(
        prompt_tokens=plain + cached + written,
        completion_tokens=made,
        cached_tokens=cached,
        cache_write_tokens=written,
        hidden_tokens=hidden,
    )


def plus(left: Usage, right: Usage) -> Usage:
    return Usage(
        prompt_tokens=left.prompt_tokens + right.prompt_tokens,
        completion_tokens=left.completion_tokens + right.completion_tokens,
        cached_tokens=left.cached_tokens + right.cached_tokens,
        cache_write_tokens=left.cache_write_tokens + right.cache_write_tokens,
        hidden_tokens=left.hidden_tokens + right.hidden_tokens,
    )


def known(price: Price, usage: Usage) -> Decimal:
    found = cost((price,), usage)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("price", "usage", "expected"),
    [
        (MINI, Usage(prompt_tokens=0, completion_tokens=0), "0"),
        (MINI, Usage(prompt_tokens=1, completion_tokens=0), "0.00000025"),
        (MINI, Usage(prompt_tokens=MILLION, completion_tokens=MILLION), "2.25"),
        (MINI, Usage(prompt_tokens=1000, completion_tokens=7, cached_tokens=400), "0.000174"),
        (MINI, Usage(prompt_tokens=0, completion_tokens=3, hidden_tokens=4), "0.000014"),
        (WRITES, Usage(prompt_tokens=10, completion_tokens=1, cache_write_tokens=4), "0.000052"),
        (WRITES, Usage(prompt_tokens=10, completion_tokens=1, cached_tokens=10), "0.000048"),
        (EMBEDDING, Usage(prompt_tokens=50, completion_tokens=0), "0.000001"),
    ],
)
def test_a_cost_is_usage_times_price(price: Price, usage: Usage, expected: str) -> None:
    assert format(known(price, usage), "f") == expected


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        (EMBEDDING, Usage(prompt_tokens=50, completion_tokens=1)),
        (EMBEDDING, Usage(prompt_tokens=50, completion_tokens=0, hidden_tokens=1)),
        (MINI, Usage(prompt_tokens=5, completion_tokens=1, cached_tokens=6)),
        (MINI, Usage(prompt_tokens=5, completion_tokens=1, cached_tokens=3, cache_write_tokens=3)),
    ],
    ids=["no price for output", "nor for hidden tokens", "more cached than sent", "or kept"],
)
def test_what_cannot_be_told_is_unknown_and_not_zero(price: Price, usage: Usage) -> None:
    assert cost((price,), usage) is None


def test_without_a_price_the_cost_is_unknown() -> None:
    assert cost((), Usage(prompt_tokens=1, completion_tokens=1)) is None


@pytest.mark.parametrize(("prompt", "expected"), [(0, "0"), (100, "0.0001"), (101, "0.000202")])
def test_a_step_holds_for_all_tokens_of_a_call_above_it(prompt: int, expected: str) -> None:
    one, two = Decimal(1), Decimal(2)
    steps = (Price(input=one, output=one), Price(input=two, output=two, above=100))
    found = cost(steps, Usage(prompt_tokens=prompt, completion_tokens=0))
    assert found == Decimal(expected)


@given(prices, usages())
def test_a_cost_is_exact_to_the_last_digit(price: Price, usage: Usage) -> None:
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    assert price.output is not None
    plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    expected = (
        Fraction(price.input) * plain
        + Fraction(cached) * usage.cached_tokens
        + Fraction(written) * usage.cache_write_tokens
        + Fraction(price.output) * (usage.completion_tokens + usage.hidden_tokens)
    ) / MILLION
    assert Fraction(known(price, usage)) == expected


@given(prices, usages(), usages())
def test_a_cost_is_additive_in_tokens(price: Price, left: Usage, right: Usage) -> None:
    both = Fraction(known(price, left)) + Fraction(known(price, right))
    assert Fraction(known(price, plus(left, right))) == both


@given(prices, usages(), st.integers(1, 1000))
def test_twice_the_price_is_twice_the_cost(price: Price, usage: Usage, times: int) -> None:
    def scaled(rate: Decimal | None) -> Decimal | None:
        return None if rate is None else rate * times

    dearer = Price(
        input=price.input * times,
        output=scaled(price.output),
        cached_input=scaled(price.cached_input),
        cache_write=scaled(price.cache_write),
    )
    assert Fraction(known(dearer, usage)) == Fraction(known(price, usage)) * times


@given(prices, usages())
def test_a_cost_survives_being_written_and_read(price: Price, usage: Usage) -> None:
    found = known(price, usage)
    assert Decimal(format(found, "f")) == found
    assert "e" not in format(found, "f").lower()
