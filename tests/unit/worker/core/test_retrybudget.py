import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retrybudget import BudgetPolicy, RetryBudget


def test_a_fresh_one_allows_one_retry_and_no_second() -> None:
    budget = RetryBudget(at=0)
    assert budget.retry(0)
    assert not budget.retry(0)


def test_five_first_tries_earn_one_retry() -> None:
    budget = RetryBudget(at=0, balance=0, policy=BudgetPolicy(share=0.25))
    for _ in range(3):
        budget.first_try(0)
    assert not budget.retry(0)
    budget.first_try(0)
    assert budget.retry(0)


def test_time_alone_earns_a_retry_so_that_little_traffic_may_retry() -> None:
    budget = RetryBudget(at=0, balance=0, policy=BudgetPolicy(reserve_per_s=0.125))
    assert not budget.retry(7.9)
    assert budget.retry(8)


def test_a_clock_that_goes_back_takes_nothing_and_gives_nothing() -> None:
    budget = RetryBudget(at=10, balance=1)
    budget.first_try(5)
    assert (budget.at, budget.balance) == (10, 1.2)


@pytest.mark.parametrize(("share", "reserve", "most"), [(-0.1, 0, 1), (0, -1, 1), (0, 0, 0.5)])
def test_a_policy_that_cannot_work_is_refused(share: float, reserve: float, most: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        BudgetPolicy(share=share, reserve_per_s=reserve, most=most)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 60))),
    st.floats(0, 1),
    st.floats(0, 5),
    st.floats(1, 50),
)
def test_in_any_span_retries_stay_within_the_share_and_the_reserve(
    tries: list[tuple[bool, float]], share: float, reserve: float, most: float
) -> None:
    policy = BudgetPolicy(share=share, reserve_per_s=reserve, most=most)
    budget, now = RetryBudget(at=0, policy=policy), 0.0
    moments: list[tuple[float, bool]] = []
    for is_retry, seconds in tries:
        now += seconds
        if not is_retry:
            budget.first_try(now)
        if not is_retry or budget.retry(now):
            moments.append((now, is_retry))
    for index, (begins, _) in enumerate(moments):
        span = moments[index:]
        retries = sum(is_retry for _, is_retry in span)
        firsts = len(span) - retries
        seconds = span[-1][0] - begins
        assert retries <= most + share * firsts + reserve * seconds + 1e-6
