import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.latency import ALPHA, ERROR_ALPHA, MEMORY_S, Observed

seconds = st.floats(0.001, 1000)
ends = st.lists(st.tuples(seconds, st.booleans(), st.floats(0, 1000)), max_size=20)


def seen(*calls: tuple[float, bool, float]) -> Observed:
    """Give what is known after calls of so many seconds, failed or not, each so long after the one before."""
    known, now = Observed(), 0.0
    for took, failed, later in calls:
        now += later
        known.began(now)
        known.ended(seconds=took, failed=failed, at=now)
    return known


def after(known: Observed, *, seconds: float, at: float, failed: bool = False) -> Observed:
    """Give what is known with one call more; what was known stays as it was."""
    known = replace(known)
    known.ended(seconds=seconds, failed=failed, at=at)
    return known


def began(known: Observed, *instants: float) -> Observed:
    """Give what is known when calls have begun at these instants."""
    known = replace(known)
    for at in instants:
        known.began(at)
    return known


def cut_off(known: Observed, seconds: float) -> Observed:
    """Give what is known when a call was closed."""
    known = replace(known)
    known.cut_off(seconds=seconds)
    return known


@given(ends, seconds, st.floats(0, 1000))
def test_a_failure_never_makes_an_endpoint_look_faster(
    calls: list[tuple[float, bool, float]], took: float, later: float
) -> None:
    before, after = seen(*calls), seen(*calls, (took, True, later))
    assert (after.latency_s is None) == (before.latency_s is None)
    assert (after.latency_s or 0) >= (before.latency_s or 0)
    assert (after.peak_s or 0) >= (before.peak_s or 0)
    assert after.at_least_s >= before.at_least_s
    assert after.error_rate >= before.error_rate


@given(ends, seconds)
def test_what_is_known_stays_between_what_was_seen(
    calls: list[tuple[float, bool, float]], took: float
) -> None:
    known = seen(*calls, (took, False, 1.0))
    assert known.latency_s is not None
    assert known.peak_s is not None
    shortest = min([took, *(each for each, failed, _ in calls if not failed)])
    longest = max([took, *(each for each, _, _ in calls)])
    assert shortest * 0.999 <= known.latency_s <= longest * 1.001
    assert took <= known.peak_s <= longest * 1.001
    assert 0 <= known.error_rate <= 1


def test_a_call_soon_after_another_weighs_three_tenths() -> None:
    known = seen((1.0, False, 0.0), (2.0, False, 0.001))
    assert known.latency_s == pytest.approx(1 + ALPHA)


def test_a_call_after_a_long_silence_outweighs_what_was_before() -> None:
    known = seen((100.0, False, 0.0), (1.0, False, 10 * MEMORY_S))
    assert known.latency_s == pytest.approx(1, abs=0.01)


def test_a_peak_counts_at_once_and_is_forgotten_with_time() -> None:
    peak = seen((1.0, False, 0.0), (9.0, False, 0.1))
    assert peak.peak_s == 9
    soon = after(peak, seconds=1.0, at=0.2)
    later = after(peak, seconds=1.0, at=0.1 + MEMORY_S)
    assert soon.peak_s == pytest.approx(9, rel=0.02)
    assert later.peak_s == pytest.approx(1 + 8 / math.e)


def test_a_failure_among_many_calls_counts_a_tenth_and_one_after_silence_no_more_than_half() -> (
    None
):
    sound = seen(*[(1.0, False, 0.01)] * 50)
    assert after(sound, seconds=0.1, failed=True, at=0.51).error_rate == pytest.approx(ERROR_ALPHA)
    assert after(sound, seconds=0.1, failed=True, at=9999.0).error_rate == pytest.approx(0.5)
    assert seen((0.1, True, 0.0)).error_rate == pytest.approx(0.5)


def test_a_failure_that_took_long_makes_an_endpoint_look_slower() -> None:
    known = seen((1.0, False, 0.0), (60.0, True, 0.1))
    assert known.latency_s == pytest.approx(1 + ALPHA * 59)
    assert known.peak_s == 60


def test_nothing_is_known_of_an_endpoint_that_never_completed_a_call_but_how_long_it_took_at_least() -> (
    None
):
    known = cut_off(seen((0.05, True, 0.0), (8.0, True, 1.0)), 3.0)
    assert known.latency_s is None
    assert known.at_least_s == 8
    assert after(known, seconds=1.0, at=9.0).at_least_s == 0


def test_a_call_that_we_closed_tells_no_more_than_that_it_took_so_long() -> None:
    known = seen((2.0, False, 0.0))
    assert cut_off(known, 1.0).latency_s == 2
    assert cut_off(known, 12.0).latency_s == pytest.approx(5)
    assert cut_off(known, 12.0).error_rate == 0


def test_an_answer_to_a_request_at_fault_is_news_and_no_measure_of_time() -> None:
    known = began(seen((2.0, False, 0.0), (0.1, True, 0.0)), 5.0)
    known.answered(at=6.0)
    assert known.latency_s == 2
    assert known.waited_s(7.0) == 0
    assert known.silent_s(7.0) == 1
    assert known.error_rate == pytest.approx(0.1 * 0.9)


def test_a_call_without_an_answer_is_waited_for_since_it_began_until_there_is_news() -> None:
    asked = began(Observed(), 10.0, 11.0)
    assert asked.waited_s(14.0) == 4
    assert after(asked, seconds=1.0, at=15.0).waited_s(16.0) == 0
    assert began(after(asked, seconds=1.0, at=15.0), 16.0).waited_s(18.0) == 2
    assert cut_off(asked, 4.0).waited_s(16.0) == 0
    assert Observed().waited_s(5.0) == 0


def test_an_endpoint_is_silent_since_its_last_news_or_since_it_was_last_asked() -> None:
    assert Observed().silent_s(7.0) == math.inf
    asked = began(Observed(), 10.0)
    assert asked.silent_s(12.0) == 2
    assert after(asked, seconds=3.0, failed=True, at=13.0).silent_s(14.0) == 1
    assert asked.silent_s(9.0) == 0
