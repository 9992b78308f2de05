import random
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from worker.core.circuit import (
    ALONE,
    AMONG_OTHERS,
    Circuit,
    CircuitPolicy,
    Sign,
    State,
    sign_of,
)
from worker.core.kinds import RULES, Cure, Kind

DOWN = [Kind.UPSTREAM_ERROR, Kind.OVERLOADED, Kind.TIMEOUT, Kind.CONNECTION, Kind.BAD_RESPONSE]
POLICY = CircuitPolicy()


def circuit(*, in_a_row: int = 5) -> Circuit:
    return Circuit(policy=CircuitPolicy(in_a_row=in_a_row))


def after(
    known: Circuit, kind: Kind | None, *, began: float, now: float, chance: float = 0
) -> Circuit:
    """Give the circuit after a call ended so, None: it completed; the known one stays as it was."""
    known = deepcopy(known)
    if kind is None:
        known.completed(began=began, now=now)
    else:
        known.failed(kind, began=began, now=now, chance=chance)
    return known


def probing(known: Circuit, *instants: float) -> Circuit:
    """Give the circuit after calls began at these instants."""
    known = deepcopy(known)
    for now in instants:
        known.probe(now)
    return known


def abandoned(known: Circuit, now: float) -> Circuit:
    """Give the circuit after its probe ended without a sign."""
    known = deepcopy(known)
    known.abandoned(now)
    return known


def failing(
    circuit: Circuit, times: int, *, at: float = 1, kind: Kind = Kind.UPSTREAM_ERROR
) -> Circuit:
    for _ in range(times):
        circuit = after(circuit, kind, began=at, now=at)
    return circuit


def opened(*, at: float = 1) -> Circuit:
    return failing(circuit(), 5, at=at)


@pytest.mark.parametrize("kind", DOWN)
def test_failures_in_a_row_open_it(kind: Kind) -> None:
    almost = failing(circuit(), 4, kind=kind)
    assert almost.state is State.CLOSED
    assert failing(almost, 1, kind=kind).state is State.OPEN


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in DOWN])
def test_what_is_not_the_endpoints_fault_never_opens_it(kind: Kind) -> None:
    assert failing(circuit(), 100, kind=kind).state is State.CLOSED


def test_every_kind_that_a_retry_cures_and_no_other_speaks_against_the_endpoint() -> None:
    assert {kind for kind in Kind if sign_of(kind) is Sign.DOWN} == {
        kind for kind in Kind if RULES[kind].cure is Cure.RETRY
    }


def test_a_success_between_failures_ends_the_row() -> None:
    broken = failing(after(failing(circuit(), 4), None, began=1, now=1), 4)
    assert broken.state is State.CLOSED


def test_half_of_ten_calls_failing_opens_it_and_half_of_nine_does_not() -> None:
    half = circuit()
    for number in range(9):
        kind = Kind.TIMEOUT if number % 2 == 0 else None
        half = after(half, kind, began=1, now=2)
    assert half.state is State.CLOSED
    assert after(half, Kind.TIMEOUT, began=1, now=2).state is State.OPEN


def test_failures_older_than_the_window_are_forgotten() -> None:
    half = circuit(in_a_row=100)
    half = failing(half, 9, at=1)
    assert failing(half, 1, at=40).state is State.CLOSED
    assert failing(half, 1, at=20).state is State.OPEN


def test_an_open_one_admits_nothing_and_then_one_probe() -> None:
    broken = opened(at=1)
    assert not broken.admits(2.9)
    assert broken.left_s(2) == 1
    assert broken.admits(3)
    probed = probing(broken, 3)
    assert probed.state is State.HALF_OPEN
    assert not probed.admits(3)


def test_a_probe_that_completes_closes_it() -> None:
    mended = after(probing(opened(), 3), None, began=3, now=4)
    assert mended.state is State.CLOSED
    assert mended.admits(4)


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.INVALID_REQUEST, Kind.UNAUTHORIZED])
def test_a_probe_that_is_answered_closes_it_whatever_the_answer_says_of_the_job(kind: Kind) -> None:
    assert after(probing(opened(), 3), kind, began=3, now=4).state is State.CLOSED


def test_each_failed_probe_doubles_the_open_time_up_to_the_longest() -> None:
    broken, now, times = opened(), 1.0, []
    for _ in range(6):
        times.append(broken.until - now)
        now = broken.until
        broken = after(probing(broken, now), Kind.CONNECTION, began=now, now=now)
    assert times == [2, 4, 8, 16, 30, 30]


def test_chance_takes_up_to_half_off_the_open_time() -> None:
    broken = after(failing(circuit(), 4), Kind.TIMEOUT, began=1, now=1, chance=0.5)
    assert broken.left_s(1) == 1.5


def test_a_probe_without_a_sign_frees_its_place_at_once() -> None:
    probed = abandoned(probing(opened(), 3), 4)
    assert probed.admits(4)
    assert after(probing(probed, 4), None, began=4, now=5).state is State.CLOSED


def test_a_probe_that_never_ends_frees_its_place_in_time() -> None:
    probed = probing(opened(), 3)
    assert not probed.admits(32.9)
    assert probed.admits(33)


def test_a_slow_probe_that_completes_after_another_went_still_closes_it() -> None:
    probed = probing(opened(), 3, 33)
    assert after(probed, None, began=3, now=50).state is State.CLOSED


def test_calls_from_before_it_opened_tell_nothing() -> None:
    broken = opened(at=10)
    assert after(broken, None, began=9, now=11) == broken
    assert after(broken, Kind.TIMEOUT, began=9, now=11) == broken
    probed = probing(broken, 12)
    assert after(probed, None, began=9, now=13) == probed


def test_calls_from_before_it_closed_do_not_open_it_again() -> None:
    mended = after(probing(opened(), 3), None, began=3, now=4)
    for _ in range(100):
        mended = after(mended, Kind.TIMEOUT, began=0, now=60)
    assert mended.state is State.CLOSED


def test_a_closing_that_does_not_last_does_not_end_the_doubling_and_one_that_lasts_does() -> None:
    mended = after(probing(opened(), 3), None, began=3, now=4)
    assert failing(mended, 5, at=5).left_s(5) == 4
    assert failing(mended, 5, at=50).left_s(50) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"in_a_row": 0},
        {"least_calls": 0},
        {"failure_share": 0},
        {"failure_share": 1.1},
        {"open_s": 0},
        {"open_s": 31},
        {"window_s": 0},
        {"probe_s": 0},
    ],
)
def test_a_policy_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"above 0|at least 1"):
        replace(POLICY, **changes)


def share_let_through(policy: CircuitPolicy, *, failing: float, seconds: int = 600) -> float:
    """Ten calls a second to an endpoint that fails so many of them at random: give the share that is made."""
    dice, broken, made = random.Random(7), Circuit(policy=policy), 0  # noqa: S311  # the same each time
    for number in range(seconds * 10):
        now = number / 10
        if broken.admits(now):
            made += 1
            broken.probe(now)
            if dice.random() < failing:
                broken.failed(Kind.UPSTREAM_ERROR, began=now, now=now, chance=dice.random())
            else:
                broken.completed(began=now, now=now)
    return made / (seconds * 10)


def test_an_endpoint_that_fails_half_of_its_calls_is_left_to_others_but_used_when_it_is_alone() -> (
    None
):
    assert share_let_through(AMONG_OTHERS, failing=0.5) < 0.2
    assert share_let_through(ALONE, failing=0.5) > 0.8


def test_an_endpoint_that_fails_a_tenth_of_its_calls_is_used_and_a_dead_one_hardly() -> None:
    assert share_let_through(AMONG_OTHERS, failing=0.1) > 0.99
    assert share_let_through(AMONG_OTHERS, failing=1) < 0.01
    assert share_let_through(ALONE, failing=1) < 0.02


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, *Kind]), st.floats(0, 100), st.floats(0, 1, exclude_max=True)
        )
    )
)
def test_it_never_stays_open_for_longer_than_the_longest(
    ends: list[tuple[Kind | None, float, float]],
) -> None:
    broken, now = circuit(), 0.0
    for kind, seconds, chance in ends:
        now += seconds
        broken = after(broken, kind, began=now, now=now, chance=chance)
        assert broken.left_s(now) <= POLICY.longest_s
        assert len(broken.parts) <= 10


class Calls(RuleBasedStateMachine):
    """Callers that ask before each call, in any order of beginnings and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = circuit()
        self.now = 0.0
        self.flying: list[tuple[float, bool]] = []
        self.probes: list[float] = []

    @rule(seconds=st.floats(0.1, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.circuit.admits(self.now))
    @rule()
    def a_call_begins(self) -> None:
        probes = self.circuit.state is not State.CLOSED
        self.circuit.probe(self.now)
        if probes:
            self.probes.append(self.now)
        self.flying.append((self.now, probes))

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        kind=st.sampled_from([None, Kind.CONNECTION, Kind.TIMEOUT, Kind.RATE_LIMITED]),
        chance=st.floats(0, 1, exclude_max=True),
    )
    def a_call_ends(self, data: st.DataObject, kind: Kind | None, chance: float) -> None:
        began, _ = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        before = self.circuit
        self.circuit = after(before, kind, began=began, now=self.now, chance=chance)
        if before.state is not State.CLOSED and self.circuit != before:
            self.probes.clear()
        if self.circuit.state is State.CLOSED:
            self.probes.clear()

    @invariant()
    def probes_are_one_at_a_time(self) -> None:
        gaps = [later - sooner for sooner, later in zip(self.probes, self.probes[1:], strict=False)]
        assert all(gap >= POLICY.probe_s - 0.02 for gap in gaps)

    @invariant()
    def it_admits_again_within_the_longest_wait(self) -> None:
        assert self.circuit.admits(self.now + max(POLICY.longest_s, POLICY.probe_s))


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
