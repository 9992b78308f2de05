from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.upstream.fakes import dice
from worker.core.concurrency import Concurrency, ConcurrencyPolicy
from worker.core.kinds import Kind

POLICY = ConcurrencyPolicy(start=10, most=20)


def at(limit: float) -> Concurrency:
    return Concurrency(limit, POLICY)


def after(
    known: Concurrency, kind: Kind | None, *, began: float, now: float, in_flight: int
) -> Concurrency:
    """Give the limit after a call ended so, None: it completed; the known one stays as it was."""
    known = replace(known)
    if kind is None:
        known.completed(began=began, in_flight=in_flight)
    else:
        known.failed(kind, began=began, now=now, in_flight=in_flight)
    return known


def test_it_begins_where_the_policy_says() -> None:
    fresh = Concurrency.new(POLICY)
    assert fresh.admits(9)
    assert not fresh.admits(10)


def test_a_limits_worth_of_completed_calls_adds_about_one() -> None:
    grown = at(10)
    for _ in range(10):
        grown = after(grown, None, began=0, now=1, in_flight=10)
    assert 10.9 < grown.limit <= 11


def test_it_does_not_grow_while_it_is_not_used() -> None:
    assert after(at(10), None, began=0, now=1, in_flight=4).limit == 10


def test_a_refusal_takes_it_down() -> None:
    assert after(at(10), Kind.RATE_LIMITED, began=0, now=1, in_flight=10).limit == 7


@pytest.mark.parametrize("kind", [Kind.OVERLOADED, Kind.TIMEOUT])
def test_overloads_and_time_outs_take_it_down_when_they_are_more_than_a_few(kind: Kind) -> None:
    limit, calls = at(10), 0
    while limit.limit == 10:
        limit = after(limit, kind, began=0, now=1, in_flight=10)
        calls += 1
    assert (limit.limit, calls) == (7, 12)


@given(st.integers(0, 2**32))
def test_seven_of_a_hundred_that_fail_by_chance_leave_most_of_it(seed: int) -> None:
    chance, limit = dice(seed), Concurrency.new(ConcurrencyPolicy(start=50, most=50))
    for now in range(5_000):
        kind = Kind.OVERLOADED if chance() < 0.07 else None
        limit = after(limit, kind, began=now, now=now + 1, in_flight=int(limit.limit))
    assert limit.limit > 25


@pytest.mark.parametrize("kind", [Kind.UPSTREAM_ERROR, Kind.INVALID_REQUEST, Kind.CANCELLED])
def test_other_failures_tell_nothing(kind: Kind) -> None:
    assert after(at(10), kind, began=0, now=1, in_flight=10) == at(10)


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.OVERLOADED, Kind.TIMEOUT])
def test_a_call_that_was_alone_was_not_one_of_too_many(kind: Kind) -> None:
    assert after(at(10), kind, began=0, now=1, in_flight=1) == at(10)


def test_calls_refused_together_take_it_down_once() -> None:
    fallen = at(10)
    for _ in range(10):
        fallen = after(fallen, Kind.RATE_LIMITED, began=0, now=1, in_flight=10)
    assert fallen.limit == 7
    assert after(fallen, Kind.RATE_LIMITED, began=1.5, now=2, in_flight=7).limit < 5


@pytest.mark.parametrize("kind", [Kind.OVERLOADED, Kind.TIMEOUT])
def test_falls_without_a_completed_call_between_them_count_as_one_when_one_completes(
    kind: Kind,
) -> None:
    fallen = at(10)
    for now in range(1, 200):
        fallen = after(fallen, kind, began=now - 0.5, now=now, in_flight=10)
    assert fallen.limit == 1
    assert (
        after(fallen, None, began=0.5, now=200, in_flight=1).limit <= 2
    )  # it began before the falls
    healed = after(fallen, None, began=200, now=201, in_flight=1)
    assert healed.limit == 7
    again = healed
    for now in range(202, 214):
        again = after(again, kind, began=now - 0.5, now=now, in_flight=7)
    assert after(again, None, began=220, now=221, in_flight=1).limit < 5


def test_refusals_say_what_they_mean_without_a_completed_call_between_them() -> None:
    fallen = at(10)
    for now in range(1, 20):
        fallen = after(fallen, Kind.RATE_LIMITED, began=now - 0.5, now=now, in_flight=10)
    assert after(fallen, None, began=20, now=21, in_flight=1).limit <= 2


@pytest.mark.parametrize(
    ("start", "most", "kept"), [(0, 5, 0.5), (6, 5, 0.5), (1, 5, 1), (1, 5, 0)]
)
def test_a_policy_that_cannot_work_is_refused(start: int, most: int, kept: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        ConcurrencyPolicy(start=start, most=most, kept=kept)


@given(
    st.lists(st.tuples(st.sampled_from([None, *Kind]), st.floats(0, 10), st.integers(1, 50))),
)
def test_it_stays_between_one_and_the_most(ends: list[tuple[Kind | None, float, int]]) -> None:
    limit, now = Concurrency.new(POLICY), 0.0
    for kind, seconds, in_flight in ends:
        now += seconds
        limit = after(limit, kind, began=now, now=now, in_flight=in_flight)
        assert 1 <= limit.limit <= 20
        assert limit.admits(0)


def test_it_settles_below_what_an_endpoint_bears() -> None:
    """Rounds of as many calls as it allows, against an endpoint that bears 16: few are refused, much is used."""
    limit, refused, made = Concurrency.new(POLICY), 0, 0
    for now in range(500):
        calls = int(limit.limit)
        made += calls
        for number in range(calls):
            kind = None if number < 16 else Kind.RATE_LIMITED
            refused += kind is not None
            limit = after(limit, kind, began=now, now=now + 0.5, in_flight=calls)
    assert refused < 0.03 * made
    assert made > 0.75 * 16 * 500
