from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Failed
from worker.core.routing import LONGEST_HOLD, Candidate, choose, hold_time

RECHECK = timedelta(seconds=15)

candidates = st.lists(
    st.builds(
        Candidate,
        name=st.text("abcdef", min_size=1, max_size=3),
        weight=st.floats(0.1, 10),
        in_flight=st.integers(0, 100),
        held=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda candidate: candidate.name,
)


@given(candidates, st.integers(0), st.none() | st.text("abcdef", max_size=3))
def test_the_choice_is_ready_least_loaded_and_another_one_if_there_is(
    candidates: list[Candidate], turn: int, avoid: str | None
) -> None:
    index = choose(candidates, turn=turn, avoid=avoid)
    ready = [candidate for candidate in candidates if not candidate.held]
    if index is None:
        assert not ready
        return
    chosen = candidates[index]
    others = [candidate for candidate in ready if candidate.name != avoid]
    assert chosen in (others or ready)
    assert chosen.in_flight / chosen.weight == min(
        candidate.in_flight / candidate.weight for candidate in (others or ready)
    )


def test_equals_take_turns_in_configured_order() -> None:
    idle = [Candidate(name=name) for name in "abc"]
    assert [choose(idle, turn=turn) for turn in range(6)] == [0, 1, 2, 0, 1, 2]


def test_twice_the_weight_gets_twice_the_calls() -> None:
    in_flight = Counter({"small": 0, "large": 0})
    for turn in range(300):
        ends = [
            Candidate(name="small", weight=1, in_flight=in_flight["small"]),
            Candidate(name="large", weight=2, in_flight=in_flight["large"]),
        ]
        index = choose(ends, turn=turn)
        assert index is not None
        in_flight[ends[index].name] += 1
    assert in_flight == {"small": 100, "large": 200}


def test_the_endpoint_that_just_failed_is_taken_when_no_other_is_free() -> None:
    ends = [Candidate(name="a"), Candidate(name="b", held=True)]
    assert choose(ends, avoid="a") == 0


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
