"""Whether a limit was kept and used is judged by the simulator's log alone."""

import pytest

from benchmarks.limited import Limit, judge
from stack.callbook import Call


def call(began: float, *, status: int = 200, tokens: int | None = 50) -> Call:
    return Call(
        job=f"{began}",
        run=1,
        generation=0,
        client=None,
        began=began,
        ended=began + 0.4,
        status=status,
        tokens=None if status == 429 else tokens,
    )


def even(count: int, *, seconds: float, begin: float = 1000.0) -> list[Call]:
    return [call(begin + number * seconds / count) for number in range(count)]


def broken(calls: list[Call], limit: Limit, seconds: float) -> set[str]:
    return {bound.name for bound in judge(calls, limit, seconds=seconds).bounds if not bound.kept}


def test_a_limit_that_is_used_up_and_never_overrun_keeps_every_bound() -> None:
    # Every eighth of a second: instants that are exact as floats.
    report = judge(even(1440, seconds=180), Limit(per_minute=480), seconds=180)
    assert report.kept
    assert report.figures["use_by_minute"] == [1, 1, 1]
    assert report.figures["most_calls_in_a_minute"] == 480


@pytest.mark.parametrize(("refused", "kept"), [(6, True), (7, False)])
def test_fewer_than_one_call_in_a_hundred_may_be_refused(refused: int, *, kept: bool) -> None:
    calls = even(600, seconds=60) + [call(1000.5, status=429) for _ in range(refused)]
    assert judge(calls, Limit(per_minute=600), seconds=60).kept is kept


@pytest.mark.parametrize(("used", "kept"), [(571, True), (570, False)])
def test_more_than_95_of_a_hundred_must_be_used(used: int, *, kept: bool) -> None:
    report = judge(even(used, seconds=60), Limit(per_minute=600), seconds=60)
    assert report.kept is kept


def test_one_idle_minute_is_not_hidden_by_a_busy_one() -> None:
    calls = even(900, seconds=60) + even(500, seconds=60, begin=1060)
    assert broken(calls, Limit(per_minute=600), 120) == {"its lowest minute"}


def test_what_came_after_the_time_and_what_was_refused_is_no_use() -> None:
    calls = even(60, seconds=60) + even(600, seconds=60, begin=1060.0)
    report = judge(calls, Limit(per_minute=600), seconds=60)
    assert report.figures["use"] == 0.1


def test_tokens_count_by_usage_and_a_part_of_a_minute_by_what_it_allows() -> None:
    calls = [call(1000 + number * 0.1, tokens=100) for number in range(900)]
    report = judge(calls, Limit(per_minute=60_000, tokens=True), seconds=90)
    assert report.figures["use_by_minute"] == [1, 1]
    assert report.kept


def test_no_call_at_all_breaks_the_bounds_instead_of_the_benchmark() -> None:
    report = judge([], Limit(per_minute=600), seconds=60)
    assert not report.kept
    assert report.figures["share_refused"] == 0
