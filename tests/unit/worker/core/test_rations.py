from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.rations import Ration, rations, wait_for


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("per_minute", "short"), [(1, 1), (30, 1), (31, 2), (300, 10), (6000, 200)]
)
def test_a_minute_is_spread_evenly(per_minute: int, short: int) -> None:
    burst, minute = rations(per_minute)
    assert burst == Ration(calls=short, span=s(2))
    assert (minute.calls, minute.span) == (per_minute, s(61))


def test_who_has_started_less_than_allowed_need_not_wait() -> None:
    assert wait_for([None, None], rations(300)) is None
    assert wait_for([s(2), s(61)], rations(300)) is None


def test_the_longest_wait_of_all_rules_holds() -> None:
    assert wait_for([s(0.5), None], rations(300)) == s(1.5)
    assert wait_for([s(0.5), s(1)], rations(300)) == s(60)


def test_a_clock_that_went_back_makes_nobody_wait_for_longer_than_the_span() -> None:
    assert wait_for([None, s(-3600)], rations(300)) == s(61)


@given(
    per_minute=st.integers(1, 400),
    asks=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=600),
)
def test_no_minute_and_no_short_span_has_more_starts_than_allowed(
    per_minute: int, asks: list[float]
) -> None:
    rules, now, starts = rations(per_minute), 0.0, list[float]()
    for pause in asks:
        now += pause
        ages = [
            s(now - starts[-rule.calls]) if len(starts) >= rule.calls else None for rule in rules
        ]
        if (wait := wait_for(ages, rules)) is not None:
            now += wait.total_seconds()
        starts.append(now)
    for rule in rules:
        for first, last in zip(starts, starts[rule.calls :], strict=False):
            assert last - first >= rule.span.total_seconds() - 1e-5
