import math
import random
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.candidate import Candidate
from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Failed
from worker.core.routing import LONGEST_HOLD, Policy, choose, hold_time

RECHECK = timedelta(seconds=15)

seconds = st.floats(0.001, 1000)
candidates = st.lists(
    st.builds(
        Candidate,
        name=st.text("abcdef", min_size=1, max_size=3),
        weight=st.floats(0.001, 1000),
        in_flight=st.integers(0, 100),
        latency_s=st.none() | seconds,
        first_byte_s=st.none() | seconds,
        at_least_s=st.just(0.0) | seconds,
        error_rate=st.floats(0, 1),
        silent_s=st.just(math.inf) | seconds,
        room=st.floats(0, 1),
        taking=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda candidate: candidate.name,
)
policies = st.sampled_from(Policy)
seeds = st.integers(0, 2**32)
names = st.frozensets(st.text("abcdef", min_size=1, max_size=3), max_size=4)


def chosen(
    field: Sequence[Candidate],
    policy: Policy,
    seed: int = 0,
    *,
    turn: int = 0,
    avoid: Collection[str] = (),
) -> int | None:
    dice = random.Random(seed)  # noqa: S311  # repeatable, not secret
    return choose(field, policy=policy, chance=dice.random, turn=turn, avoid=avoid)


@given(candidates, policies, seeds, st.integers(0, 99), names)
def test_the_one_chosen_takes_calls_and_was_not_tried_if_another_was_not(
    field: list[Candidate], policy: Policy, seed: int, turn: int, avoid: frozenset[str]
) -> None:
    index = chosen(field, policy, seed, turn=turn, avoid=avoid)
    taking = [each for each in field if each.taking]
    if index is None:
        assert not taking
        return
    assert field[index].taking
    if any(each.name not in avoid for each in taking):
        assert field[index].name not in avoid


@given(candidates, st.integers(0), names)
def test_the_least_loaded_is_taken_where_only_the_load_counts(
    field: list[Candidate], turn: int, avoid: frozenset[str]
) -> None:
    index = chosen(field, Policy.LEAST_LOAD, turn=turn, avoid=avoid)
    taking = [each for each in field if each.taking]
    ready = [each for each in taking if each.name not in avoid] or taking
    if index is not None:
        assert field[index].in_flight / field[index].weight == min(
            each.in_flight / each.weight for each in ready
        )


def test_equals_take_turns_in_configured_order() -> None:
    idle = [Candidate(name=name) for name in "abc"]
    assert [chosen(idle, Policy.LEAST_LOAD, turn=turn) for turn in range(6)] == [0, 1, 2, 0, 1, 2]


def test_twice_the_weight_gets_twice_the_calls() -> None:
    in_flight = Counter({"small": 0, "large": 0})
    for turn in range(300):
        ends = [
            Candidate(name="small", weight=1, in_flight=in_flight["small"]),
            Candidate(name="large", weight=2, in_flight=in_flight["large"]),
        ]
        index = chosen(ends, Policy.LEAST_LOAD, turn=turn)
        assert index is not None
        in_flight[ends[index].name] += 1
    assert in_flight == {"small": 100, "large": 200}


def test_the_endpoint_that_just_failed_is_taken_when_no_other_is_free() -> None:
    ends = [Candidate(name="a"), Candidate(name="b", taking=False)]
    assert chosen(ends, Policy.PEAK_EWMA, avoid={"a"}) == 0


@pytest.mark.parametrize(
    ("kind", "asked_s", "in_a_row", "expected_s"),
    [
        (Kind.RATE_LIMITED, None, 0, None),
        (Kind.RATE_LIMITED, 0, 0, None),
        (Kind.RATE_LIMITED, 7, 0, 7),
        (Kind.RATE_LIMITED, 7, 5, 7),
        (Kind.RATE_LIMITED, 3600, 0, 300),
        (Kind.UNAUTHORIZED, None, 0, 15),
        (Kind.UNAUTHORIZED, None, 1, 30),
        (Kind.UNAUTHORIZED, None, 4, 240),
        (Kind.UNAUTHORIZED, None, 5, 300),
        (Kind.UNAUTHORIZED, None, 10**9, 300),
        (Kind.QUOTA_EXHAUSTED, 60, 0, 60),
        (Kind.QUOTA_EXHAUSTED, 1, 0, 15),
    ],
)
def test_a_refusal_holds_for_what_was_asked_and_a_bad_key_for_longer_each_time(
    kind: Kind, asked_s: int | None, in_a_row: int, expected_s: int | None
) -> None:
    asked = None if asked_s is None else timedelta(seconds=asked_s)
    held = hold_time(Failed(kind=kind, retry_after=asked), in_a_row=in_a_row, recheck=RECHECK)
    assert held == (None if expected_s is None else timedelta(seconds=expected_s))


@given(st.sampled_from(Kind), st.none() | st.timedeltas(timedelta(), timedelta(hours=1)))
def test_only_refusals_hold_an_endpoint_and_never_for_longer_than_five_minutes(
    kind: Kind, asked: timedelta | None
) -> None:
    held = hold_time(Failed(kind=kind, retry_after=asked), in_a_row=3, recheck=RECHECK)
    if RULES[kind].cure in {Cure.WAIT, Cure.OPERATOR}:
        assert held is None or timedelta() < held <= LONGEST_HOLD
    else:
        assert held is None
