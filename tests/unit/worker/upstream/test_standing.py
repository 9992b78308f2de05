import random
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from worker.core.circuit import ALONE, AMONG_OTHERS, State
from worker.core.kinds import Kind
from worker.core.model import Failed
from worker.upstream.standing import Standing, Start

REFUSED_KEY = Failed(kind=Kind.UNAUTHORIZED)
DOWN = Failed(kind=Kind.OVERLOADED)


def limited(seconds: float) -> Failed:
    return Failed(kind=Kind.RATE_LIMITED, retry_after=timedelta(seconds=seconds))


def standing() -> Standing:
    return Standing(recheck=timedelta(seconds=15), chance=lambda: 0)


def began(at: float, job_id: str = "one") -> Start:
    """A call that nobody waits for."""
    return Start(began=at, job_id=job_id, probe=False)


def opened() -> Standing:
    """An endpoint whose circuit opened at 1."""
    known = standing()
    for number in range(ALONE.in_a_row):
        known.failed(DOWN, known.started(0.5, job_id=str(number)), now=1)
    return known


def test_a_fresh_endpoint_takes_calls() -> None:
    known = standing()
    assert known.may_start(0)
    assert known.left_s(0) == 0
    assert known.kind(0) is None
    assert not known.started(0, job_id="one").probe


def test_a_refusal_holds_until_its_time_has_passed() -> None:
    known = standing()
    assert known.failed(limited(10), began(0), now=1) == 10
    assert known.left_s(1) == 10
    assert known.left_s(10.5) == 0.5
    assert known.kind(10.5) is Kind.RATE_LIMITED
    assert known.left_s(11) == 0


def test_who_wakes_a_little_early_finds_the_hold_over() -> None:
    known = standing()
    known.failed(limited(10), began(0), now=1)
    assert known.may_start(10.999)


def test_calls_that_were_on_their_way_lengthen_a_hold_but_do_not_begin_another() -> None:
    known = standing()
    known.failed(limited(10), began(0), now=1)
    assert known.failed(limited(20), began(0), now=2) is None
    assert known.left_s(2) == 20
    assert known.failed(limited(1), began(0), now=3) is None
    assert known.left_s(3) == 19


def test_a_key_that_stays_refused_is_looked_at_less_and_less_often() -> None:
    known, now, times = standing(), 0.0, []
    for _ in range(7):
        seconds = known.failed(REFUSED_KEY, known.started(now + 1, job_id="one"), now=now + 2)
        assert seconds is not None
        times.append(seconds)
        now += 2 + seconds
    assert times == [15, 30, 60, 120, 240, 300, 300]


def test_a_hundred_calls_refused_together_double_once() -> None:
    known = standing()
    for _ in range(100):
        known.failed(REFUSED_KEY, began(1), now=2)
    assert known.left_s(2) == 15
    assert known.failed(REFUSED_KEY, began(20), now=21) == 30


def test_one_success_ends_the_doubling_but_not_the_hold() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.failed(REFUSED_KEY, began(20), now=21)
    known.succeeded(began(22), now=22)
    assert known.left_s(22) == 29
    assert known.failed(REFUSED_KEY, began(60), now=61) == 15


def test_a_success_from_before_the_refusal_proves_nothing() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.succeeded(began(1), now=3)
    assert known.started(17, job_id="one").probe
    assert known.failed(REFUSED_KEY, began(20), now=21) == 30


def test_a_transient_failure_holds_nothing() -> None:
    known = standing()
    assert known.failed(DOWN, began(0), now=1) is None
    assert known.may_start(1)


@pytest.mark.parametrize("refusal", [REFUSED_KEY, limited(15)])
def test_after_a_hold_one_call_goes_first_and_the_others_when_it_completed(refusal: Failed) -> None:
    known = standing()
    known.failed(refusal, began(1), now=2)
    probe = known.started(17, job_id="one")
    assert probe.probe
    assert not known.may_start(18)
    assert known.kind(18) is refusal.kind
    known.succeeded(probe, now=18.5)
    assert known.may_start(18.5)
    assert not known.started(18.5, job_id="two").probe


def test_whoever_waits_for_a_probe_looks_again_every_second() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.started(17, job_id="one")
    assert known.left_s(18) == 1


def test_after_a_hold_a_probe_that_is_refused_holds_again() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    assert known.failed(REFUSED_KEY, known.started(17, job_id="one"), now=18) == 30
    assert known.left_s(18) == 30


@pytest.mark.parametrize("kind", [Kind.INVALID_REQUEST, Kind.RATE_LIMITED])
def test_an_answer_to_the_probe_ends_the_doubt_whatever_it_says_of_the_job(kind: Kind) -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.failed(Failed(kind=kind), known.started(17, job_id="one"), now=18)
    assert not known.started(18, job_id="two").probe


def test_a_probe_that_shows_nothing_of_the_key_leaves_its_place_to_the_next() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.failed(DOWN, known.started(17, job_id="one"), now=18)
    assert known.started(18, job_id="two").probe
    assert not known.may_start(18)


def test_a_rate_limit_lets_the_others_follow_when_the_probe_was_not_refused_at_once() -> None:
    known = standing()
    known.failed(limited(10), began(0), now=1)
    known.started(11, job_id="one")
    assert not known.may_start(12.5)
    assert known.may_start(13)
    assert not known.started(13, job_id="two").probe
    assert known.may_start(13)


def test_a_key_is_proved_by_an_answer_only_however_long_that_takes() -> None:
    known = standing()
    known.failed(REFUSED_KEY, began(1), now=2)
    known.started(17, job_id="one")
    assert not known.may_start(40)


@pytest.mark.parametrize("after", ["hold", "circuit"])
def test_a_cancelled_probe_frees_its_place_at_once(after: str) -> None:
    known = opened() if after == "circuit" else standing()
    known.failed(REFUSED_KEY, began(0.5), now=1)
    probe = known.started(20, job_id="one")
    assert not known.may_start(21)
    known.abandoned(probe, now=21)
    assert known.started(21, job_id="two").probe


@pytest.mark.parametrize("after", ["hold", "circuit"])
def test_a_probe_that_nobody_reports_frees_its_place_in_time(after: str) -> None:
    known = opened() if after == "circuit" else standing()
    if after == "hold":
        known.failed(REFUSED_KEY, began(1), now=2)
    known.started(20, job_id="one")
    assert not known.may_start(49.9)
    assert known.may_start(50)


def test_the_end_of_a_lost_probe_does_not_free_its_successors_place() -> None:
    known = opened()
    lost = known.started(20, job_id="one")
    known.started(50, job_id="two")
    known.abandoned(lost, now=51)
    assert not known.may_start(52)


def test_a_call_that_is_not_made_yet_is_not_made_once_a_hold_or_a_circuit_keeps_calls_away() -> (
    None
):
    known = standing()
    start = known.started(0, job_id="one")
    assert known.still_takes(start, 0.5)
    known.failed(limited(10), began(0.5), now=1)
    assert not known.still_takes(start, 2)
    assert known.still_takes(start, 11)
    probe = known.started(11, job_id="two")
    assert probe.probe
    assert not known.still_takes(start, 11.1)  # it waits for what the probe shows
    assert known.still_takes(probe, 11.1)
    known.failed(limited(10), began(10.5), now=12)
    assert not known.still_takes(probe, 12)


def test_a_probe_of_an_open_circuit_may_still_be_made_and_no_other_call() -> None:
    known = opened()
    before = began(0.5)
    assert not known.still_takes(before, 1.5)
    later = 1 + known.left_s(1)
    probe = known.started(later, job_id="two")
    assert known.still_takes(probe, later + 0.1)
    assert not known.still_takes(before, later + 0.1)


def test_an_open_circuit_takes_no_calls_and_then_one() -> None:
    known = opened()
    assert (known.kind(2), known.state, known.state_s(2)) == (Kind.UNAVAILABLE, State.OPEN, 1)
    assert known.left_s(2) == 1
    probe = known.started(3, job_id="one")
    assert (probe.probe, known.state) == (True, State.HALF_OPEN)
    assert known.left_s(3) == 1
    known.succeeded(probe, now=4)
    assert known.state is State.CLOSED
    assert known.may_start(4)


def test_an_open_time_is_told_whole_also_while_a_slow_call_that_was_let_in_goes_on() -> None:
    known = standing()
    known.failed(limited(1), began(0), now=1)
    known.started(2, job_id="slow")
    for _ in range(ALONE.in_a_row):
        known.failed(DOWN, known.started(5, job_id="one"), now=6)
    assert known.left_s(6) == 2


def test_a_hold_longer_than_the_open_time_is_waited_out() -> None:
    known = opened()
    known.failed(limited(60), began(0.5), now=1)
    assert known.left_s(1) == 60


def test_a_failed_probe_is_excused_where_other_jobs_failed_too() -> None:
    known = opened()
    probe = known.started(3, job_id="one")
    known.failed(DOWN, probe, now=4)
    assert known.excuses(probe)


def test_a_job_that_fails_alone_is_not_excused() -> None:
    known = standing()
    for _ in range(ALONE.in_a_row):
        last = known.started(0.5, job_id="one")
        known.failed(DOWN, last, now=1)
    assert not known.excuses(last)
    probe = known.started(3, job_id="one")
    known.failed(DOWN, probe, now=4)
    assert not known.excuses(probe)


def test_a_success_ends_the_suspicion_against_the_endpoint() -> None:
    known = opened()
    known.succeeded(known.started(3, job_id="one"), now=4)
    for _ in range(ALONE.in_a_row):
        known.failed(DOWN, known.started(4.5, job_id="one"), now=5)
    probe = known.started(10, job_id="one")
    known.failed(DOWN, probe, now=11)
    assert not known.excuses(probe)


def many(failing: tuple[float, ...], *, seconds: int = 300) -> list[tuple[int, int]]:
    """Twenty calls a second to endpoints of which each fails such a part; give each one's calls and completed calls."""
    dice = random.Random(3)  # noqa: S311  # the same each time
    known = [Standing(recheck=timedelta(seconds=15), chance=dice.random) for _ in failing]
    counts = [(0, 0)] * len(failing)
    for number in range(seconds * 20):
        now = number / 20
        takes = [index for index, each in enumerate(known) if each.may_start(now)]
        better = [index for index in takes if not known[index].is_shunned(now)]
        if not takes:
            continue
        index = dice.choice(better or takes)
        start = known[index].started(now, job_id=str(number))
        completes = dice.random() >= failing[index]
        if completes:
            known[index].succeeded(start, now=now + 0.01)
        else:
            known[index].failed(DOWN, start, now=now + 0.01)
        made, done = counts[index]
        counts[index] = (made + 1, done + completes)
    return counts


def test_an_endpoint_that_fails_half_of_its_calls_is_shunned_beside_a_sound_one() -> None:
    (_, sound), (wasted, _) = many((0.0, 0.5))
    assert wasted < 0.05 * 6000
    assert sound > 0.95 * 6000


def test_endpoints_that_all_fail_alike_are_used_all_the_same() -> None:
    counts = many((0.62,) * 8)
    assert sum(made for made, _ in counts) > 0.99 * 6000


def test_a_shunned_endpoint_that_is_mended_is_found_out_by_one_call() -> None:
    known = standing()
    for _ in range(AMONG_OTHERS.in_a_row):
        known.failed(DOWN, known.started(0.5, job_id="one"), now=1)
    assert known.is_shunned(1)
    assert known.may_start(1)
    assert (known.state, known.state_s(1)) == (State.OPEN, 2)
    assert not known.is_shunned(3)
    probe = known.started(3, job_id="one")
    assert (probe.probe, known.is_shunned(3)) == (False, True)
    known.succeeded(probe, now=4)
    assert not known.is_shunned(4)


def test_a_shunned_endpoints_first_call_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    known = standing()
    for _ in range(AMONG_OTHERS.in_a_row):
        known.failed(DOWN, known.started(0.5, job_id="one"), now=1)
    known.abandoned(known.started(3, job_id="one"), now=4)
    assert not known.is_shunned(4)


class Callers(RuleBasedStateMachine):
    """Any order of beginnings, ends, and losses; nobody begins without asking."""

    def __init__(self) -> None:
        super().__init__()
        self.known = standing()
        self.now = 0.0
        self.flying: list[Start] = []
        self.probes: list[Start] = []
        self.began = 0

    @rule(seconds=st.floats(0.01, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.known.may_start(self.now))
    @rule()
    def a_call_begins(self) -> None:
        self.began += 1
        start = self.known.started(self.now, job_id=str(self.began))
        self.flying.append(start)
        if start.probe:
            young = [probe for probe in self.probes if self.now - probe.began < ALONE.probe_s - 0.1]
            assert not young, "two probes at once"
            self.probes.append(start)

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        end=st.sampled_from(["ok", "cancelled", "lost", DOWN, REFUSED_KEY, limited(5)]),
    )
    def a_call_ends(self, data: st.DataObject, end: str | Failed) -> None:
        start = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if end == "lost":
            return
        if isinstance(end, Failed):
            self.known.failed(end, start, now=self.now)
        elif end == "ok":
            self.known.succeeded(start, now=self.now)
        else:
            self.known.abandoned(start, now=self.now)
        self.probes = [probe for probe in self.probes if probe is not start]

    @invariant()
    def what_is_left_is_said_and_is_bounded(self) -> None:
        left = self.known.left_s(self.now)
        assert (left == 0) == self.known.may_start(self.now)
        assert (self.known.kind(self.now) is None) == (left == 0)
        assert left <= 300

    @invariant()
    def it_takes_calls_again_in_the_end(self) -> None:
        assert self.known.may_start(self.now + 301)


TestCallers = Callers.TestCase
TestCallers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
