from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.wire import Status
from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import (
    Completed,
    DeadLetter,
    Failed,
    Reply,
    Retry,
    Settlement,
    Snooze,
    Tally,
    Work,
)
from worker.core.retry import JITTER, RetryPolicy, settle, settle_uncalled, spread

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
DONE = Completed(body=b"{}", endpoint="main")
POLICY = RetryPolicy(max_attempts=3, max_refusals=4)

kinds_that = {cure: [kind for kind in Kind if RULES[kind].cure is cure] for cure in Cure}
chances = st.floats(min_value=0, max_value=1, exclude_max=True)
waits = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365))


def settled(
    outcome: Completed | Failed,
    tally: Tally,
    *,
    policy: RetryPolicy = POLICY,
    deadline: datetime = LATER,
    chance: float = 0.0,
) -> Settlement:
    return settle(outcome, tally, policy=policy, now=NOW, deadline=deadline, chance=chance)


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(Kind)


def test_a_completed_attempt_is_replied() -> None:
    assert settled(DONE, Tally(attempts=1)) == Reply(status=Status.COMPLETED)


@pytest.mark.parametrize("kind", kinds_that[Cure.NONE])
def test_what_no_retry_cures_is_dead_lettered_at_the_first_attempt(kind: Kind) -> None:
    assert settled(Failed(kind=kind), Tally(attempts=1)) == DeadLetter(reason=kind)


@pytest.mark.parametrize("kind", kinds_that[Cure.RETRY])
def test_a_transient_failure_is_retried_until_the_attempts_are_spent(kind: Kind) -> None:
    ends = [settled(Failed(kind=kind), Tally(attempts=n)) for n in (1, 2, 3)]
    assert [type(end) for end in ends] == [Retry, Retry, DeadLetter]
    assert ends[2] == DeadLetter(reason=kind)


def test_backoffs_grow_by_attempt_and_the_last_one_repeats() -> None:
    policy = RetryPolicy(max_attempts=9, backoffs=(timedelta(seconds=2), timedelta(seconds=10)))
    failed = Failed(kind=Kind.OVERLOADED)
    ends = [settled(failed, Tally(attempts=n), policy=policy) for n in (1, 2, 3)]
    assert ends == [Retry(after=timedelta(seconds=s)) for s in (2, 10, 10)]


def test_a_refused_call_snoozes_and_spends_no_attempt() -> None:
    tally = Tally(attempts=POLICY.max_attempts, refusals=1)
    assert isinstance(settled(Failed(kind=Kind.RATE_LIMITED), tally), Snooze)


def test_refusals_have_their_own_bound() -> None:
    end = settled(Failed(kind=Kind.RATE_LIMITED), Tally(attempts=1, refusals=4))
    assert end == DeadLetter(reason=Kind.REFUSALS_EXHAUSTED)


def test_a_key_that_was_replaced_ends_no_job_however_often_it_was_refused() -> None:
    failed = Failed(kind=Kind.KEY_REPLACED, status=401, retry_after=timedelta())
    for policy in (POLICY, RetryPolicy(max_refusals=0)):
        settlement = settled(failed, Tally(attempts=1, refusals=9), policy=policy)
        assert settlement == Snooze(after=timedelta(seconds=2))


@pytest.mark.parametrize("kind", kinds_that[Cure.OPERATOR])
def test_a_refused_key_never_burns_the_queue_into_the_dead_letters(kind: Kind) -> None:
    tally = Tally(attempts=99, refusals=99_999)
    assert isinstance(settled(Failed(kind=kind), tally), Snooze)


def test_a_wait_past_the_deadline_ends_the_job_now() -> None:
    end = settled(
        Failed(kind=Kind.OVERLOADED), Tally(attempts=1), deadline=NOW + timedelta(seconds=1)
    )
    assert end == Reply(status=Status.EXPIRED)


@given(retry_after=waits, chance=chances, refusals=st.integers(0, 3))
def test_nobody_comes_back_before_the_time_that_the_upstream_named(
    retry_after: timedelta, chance: float, refusals: int
) -> None:
    failed = Failed(kind=Kind.RATE_LIMITED, retry_after=retry_after)
    end = settled(failed, Tally(attempts=1, refusals=refusals), chance=chance)
    assert isinstance(end, Snooze)
    assert end.after >= min(retry_after, POLICY.max_wait)
    assert end.after <= POLICY.max_wait * (1 + JITTER)


@given(
    kind=st.sampled_from(Kind),
    retry_after=st.none() | waits,
    attempts=st.integers(0, 1000),
    refusals=st.integers(0, 1000),
    chance=chances,
    left=st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=9)),
)
def test_nothing_waits_beyond_its_deadline_or_without_end(  # one value per dimension of the law
    kind: Kind,
    retry_after: timedelta | None,
    attempts: int,
    refusals: int,
    chance: float,
    left: timedelta,
) -> None:
    end = settled(
        Failed(kind=kind, retry_after=retry_after),
        Tally(attempts=attempts, refusals=refusals),
        chance=chance,
        deadline=NOW + left,
    )
    if isinstance(end, Retry | Snooze):
        assert timedelta(0) < end.after < left


@given(st.integers(1, 8), st.integers(1, 4), st.randoms(use_true_random=False))
def test_calls_of_a_run_are_at_most_attempts_times_tries(
    max_attempts: int, tries: int, random: Random
) -> None:
    policy = RetryPolicy(max_attempts=max_attempts)
    tally, calls = Tally(), 0
    while True:
        tally = Tally(attempts=tally.attempts + 1, calls=tally.calls).plus(Work(calls=tries))
        calls += tries
        kind = random.choice(kinds_that[Cure.RETRY])
        if isinstance(settled(Failed(kind=kind), tally, policy=policy), DeadLetter):
            break
    assert calls <= max_attempts * tries
    assert tally.calls == calls


@given(wait=waits, chance=chances)
def test_jitter_only_shortens_and_by_a_fifth_at_most(wait: timedelta, chance: float) -> None:
    assert wait * (1 - JITTER) <= spread(wait, chance) <= wait


@pytest.mark.parametrize("kind", list(Kind))
def test_what_needs_no_call_ends_the_job_and_never_waits(kind: Kind) -> None:
    assert isinstance(settle_uncalled(Failed(kind=kind)), Reply | DeadLetter)


@pytest.mark.parametrize("waits", [(), (timedelta(seconds=5), timedelta(seconds=2))])
def test_a_policy_without_growing_waits_is_refused(waits: tuple[timedelta, ...]) -> None:
    with pytest.raises(ValueError, match="backoffs must be at least one wait"):
        RetryPolicy(backoffs=waits)
