from datetime import timedelta

from worker.core.kinds import Kind
from worker.core.model import Failed
from worker.upstream.hold import Hold

REFUSED_KEY = Failed(kind=Kind.UNAUTHORIZED)


def limited(seconds: float) -> Failed:
    return Failed(kind=Kind.RATE_LIMITED, retry_after=timedelta(seconds=seconds))


def hold() -> Hold:
    return Hold(recheck=timedelta(seconds=15))


def test_a_fresh_endpoint_is_free() -> None:
    assert hold().left_s(0) == 0


def test_a_refusal_holds_until_its_time_has_passed() -> None:
    held = hold()
    assert held.failed(limited(10), began=0, now=1) == 10
    assert held.left_s(1) == 10
    assert held.left_s(10.5) == 0.5
    assert held.left_s(11) == 0
    assert held.kind is Kind.RATE_LIMITED


def test_who_wakes_a_little_early_finds_the_hold_over() -> None:
    held = hold()
    held.failed(limited(10), began=0, now=1)
    assert held.left_s(10.999) == 0


def test_calls_that_were_on_their_way_lengthen_a_hold_but_do_not_begin_another() -> None:
    held = hold()
    held.failed(limited(10), began=0, now=1)
    assert held.failed(limited(20), began=0, now=2) is None
    assert held.left_s(2) == 20
    assert held.failed(limited(1), began=0, now=3) is None
    assert held.left_s(3) == 19


def test_a_key_that_stays_refused_is_looked_at_less_and_less_often() -> None:
    held, now, times = hold(), 0.0, []
    for _ in range(7):
        seconds = held.failed(REFUSED_KEY, began=now + 1, now=now + 2)
        assert seconds is not None
        times.append(seconds)
        now += 2 + seconds
    assert times == [15, 30, 60, 120, 240, 300, 300]


def test_a_hundred_calls_refused_together_double_once() -> None:
    held = hold()
    for _ in range(100):
        held.failed(REFUSED_KEY, began=1, now=2)
    assert held.left_s(2) == 15
    assert held.failed(REFUSED_KEY, began=20, now=21) == 30


def test_one_success_ends_the_doubling_but_not_the_hold() -> None:
    held = hold()
    held.failed(REFUSED_KEY, began=1, now=2)
    held.failed(REFUSED_KEY, began=20, now=21)
    held.succeeded(began=22)
    assert held.left_s(22) == 29
    assert held.failed(REFUSED_KEY, began=60, now=61) == 15


def test_a_success_from_before_the_refusal_proves_nothing() -> None:
    held = hold()
    held.failed(REFUSED_KEY, began=1, now=2)
    held.succeeded(began=1)
    assert held.failed(REFUSED_KEY, began=20, now=21) == 30


def test_a_transient_failure_holds_nothing() -> None:
    held = hold()
    assert held.failed(Failed(kind=Kind.OVERLOADED), began=0, now=1) is None
    assert held.left_s(1) == 0
