"""`result`, `cancel` and `called_off`: what a job's tenant may ask of the ledger."""

from datetime import timedelta

import pytest

from producer_sdk.wire import Dedupe, Status
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    INVALID,
    NO_CALL,
    ONE_CALL,
    SOON,
    TIMEOUT,
    Fleet,
    Worker,
    as_ended,
    asked,
    complete,
    dead_letter,
    ids,
    make_job,
    park,
)
from worker.core.kinds import Kind
from worker.core.model import (
    CalledOff,
    Completed,
    Ended,
    Failed,
    NotEnded,
    Parked,
    Reply,
    Retry,
    Settled,
    Snooze,
    Started,
    State,
    UnknownJob,
    next_generation,
)
from worker.ports import Ledger

CANCELLED = Failed(kind=Kind.CANCELLED)
CALLED_OFF = Reply(status=Status.CANCELLED)


async def test_a_completed_jobs_result_is_told_to_the_asker_alone(ledger: Ledger) -> None:
    await complete(ledger, make_job())
    for _ in range(2):
        found = await ledger.result(asked(make_job()))
        assert isinstance(found, Settled)
        assert found.ended.record.outcome == ANSWER
        assert ids(found.ended.hear) == {"ask"}
        assert not found.ended.written


async def test_a_failed_jobs_result_is_its_failure(ledger: Ledger) -> None:
    await dead_letter(ledger, make_job())
    found = await ledger.result(asked(make_job()))
    assert isinstance(found, Settled)
    assert found.ended.record.outcome == INVALID


async def test_a_result_is_told_until_it_expires(fleet: Fleet, worker: Worker) -> None:
    await complete(worker.ledger, make_job())
    fleet.clock.pass_by(timedelta(hours=25))
    found = await worker.ledger.result(asked(make_job()))
    assert isinstance(found, Settled)
    assert found.ended.record.outcome is None
    fleet.clock.pass_by(timedelta(days=10))
    await worker.sweep()
    assert await worker.ledger.result(asked(make_job())) == UnknownJob()


@pytest.mark.parametrize("what", ["result", "cancel"])
async def test_another_tenants_job_is_an_unknown_one(ledger: Ledger, what: str) -> None:
    await complete(ledger, make_job())
    await ledger.begin(make_job("k2"), max_attempts=3)
    ask = ledger.cancel if what == "cancel" else ledger.result
    for job in (make_job(), make_job("k2"), make_job("k3")):
        assert await ask(asked(job, tenant="other")) == UnknownJob()
    assert await ledger.called_off() == frozenset()


async def test_an_operator_asks_for_any_job(ledger: Ledger) -> None:
    await complete(ledger, make_job())
    assert isinstance(await ledger.result(asked(make_job(), tenant=None)), Settled)
    assert await ledger.cancel(asked(make_job("k2"), tenant=None)) == CalledOff()


async def test_an_open_job_has_not_ended(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    assert await ledger.result(asked(make_job())) == NotEnded(noted=False)


async def test_a_waiting_job_ends_at_once_for_all_its_submissions(ledger: Ledger) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=3)
    await park(ledger, job)
    await ledger.begin(make_job(submission="s2"), max_attempts=3)
    found = await ledger.cancel(asked(job))
    assert isinstance(found, Settled)
    assert found.ended.written
    assert found.ended.record.state is State.CANCELLED
    assert ids(found.ended.hear) == {"s1", "s2", "ask"}
    await ledger.carried(found.job, found.ended.hear, letter=False)
    copy = next_generation(job, not_before=BEGAN + SOON)
    assert as_ended(await ledger.find(copy)).hear == ()
    assert [line.what for line in found.ended.history][-1] == "cancelled"


async def test_a_crash_before_all_have_heard_lets_the_copy_tell_them(ledger: Ledger) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=3)
    await park(ledger, job)
    await ledger.cancel(asked(job))
    copy = next_generation(job, not_before=BEGAN + SOON)
    assert ids(as_ended(await ledger.find(copy)).hear) == {"s1", "ask"}


async def test_a_running_call_is_named_to_its_own_process_and_the_asker_noted(
    fleet: Fleet, worker: Worker
) -> None:
    other, job = await fleet.join(), make_job()
    await worker.ledger.begin(job, max_attempts=3)
    assert await other.ledger.cancel(asked(job)) == NotEnded(noted=True)
    assert await worker.ledger.called_off() == {job.id}
    assert await other.ledger.called_off() == frozenset()
    ended = await worker.ledger.end(job, CANCELLED, CALLED_OFF, work=ONE_CALL, claimed=True)
    assert ids(as_ended(ended).hear) == {"s1", "ask"}
    assert await worker.ledger.called_off() == frozenset()


async def test_a_call_that_completed_before_it_was_closed_counts(ledger: Ledger) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=3)
    await ledger.cancel(asked(job))
    ended = as_ended(await ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert isinstance(ended.record.outcome, Completed)
    assert not isinstance(await ledger.find(job), CalledOff)


async def test_a_cancelled_job_is_not_parked_but_ends(ledger: Ledger) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=3)
    await ledger.cancel(asked(job))
    ended = await ledger.park(
        job, Retry(after=SOON), BEGAN + SOON, work=ONE_CALL, why=TIMEOUT, claimed=True
    )
    assert isinstance(ended, Ended)
    assert ended.written
    assert ended.record.state is State.CANCELLED


async def test_a_copy_parked_elsewhere_does_not_end_a_job_over_the_head_of_its_call(
    fleet: Fleet, worker: Worker
) -> None:
    other, job = await fleet.join(), make_job()
    await worker.ledger.begin(job, max_attempts=3)
    await worker.ledger.cancel(asked(job))
    parked = await other.ledger.park(
        job, Snooze(after=SOON), BEGAN + SOON, work=NO_CALL, why=None, claimed=False
    )
    assert isinstance(parked, Parked)
    assert await worker.ledger.called_off() == {job.id}
    ended = await worker.ledger.end(job, CANCELLED, CALLED_OFF, work=ONE_CALL, claimed=True)
    assert as_ended(ended).record.state is State.CANCELLED


async def test_no_further_try_is_made_for_a_cancelled_job(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    assert await ledger.holds(make_job())
    await ledger.cancel(asked(make_job()))
    assert not await ledger.holds(make_job())


async def test_a_cancelled_leader_whose_call_came_to_nothing_is_not_called_again(
    ledger: Ledger,
) -> None:
    leader = make_job("k1", "s1", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT), max_attempts=3)
    await ledger.cancel(asked(leader))
    assert await ledger.holds(leader)  # the other job waits: a quick try may still help it
    ended = await ledger.park(
        leader, Retry(after=SOON), BEGAN + SOON, work=ONE_CALL, why=TIMEOUT, claimed=True
    )
    assert as_ended(ended).record.state is State.CANCELLED
    follower = make_job("k2", "s2", dedupe=Dedupe.INFLIGHT)
    assert isinstance(await ledger.begin(follower, max_attempts=3), Started)


async def test_a_call_that_another_job_follows_is_not_called_off(ledger: Ledger) -> None:
    leader = make_job("k1", "s1", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(make_job("k2", "s2", dedupe=Dedupe.INFLIGHT), max_attempts=3)
    assert await ledger.cancel(asked(leader)) == NotEnded(noted=True)
    assert await ledger.called_off() == frozenset()
    ended = await ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert "ask" in ids(as_ended(ended).hear)


async def test_a_second_submission_of_the_job_itself_does_not_keep_its_call(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    await ledger.begin(make_job(submission="s2"), max_attempts=3)
    await ledger.cancel(asked(make_job()))
    assert await ledger.called_off() == {make_job().id}


async def test_a_follower_is_cancelled_alone(ledger: Ledger) -> None:
    leader = make_job("k1", "s1", dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", "s2", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(follower, max_attempts=3)
    assert isinstance(await ledger.cancel(asked(follower)), Settled)
    assert isinstance(
        as_ended(await ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)), Ended
    )


async def test_the_call_of_a_process_that_died_is_not_made_again(
    fleet: Fleet, worker: Worker
) -> None:
    other, job = await fleet.join(), make_job()
    await worker.ledger.begin(job, max_attempts=3)
    await other.ledger.cancel(asked(job))
    await fleet.kill(worker)
    assert await other.ledger.find(job) == CalledOff()
    assert await other.ledger.begin(job, max_attempts=3) == CalledOff()


async def test_a_job_of_a_dead_process_ends_at_once(fleet: Fleet, worker: Worker) -> None:
    other, job = await fleet.join(), make_job()
    await worker.ledger.begin(job, max_attempts=3)
    await fleet.kill(worker)
    assert isinstance(await other.ledger.cancel(asked(job)), Settled)


async def test_a_job_that_nobody_knows_ends_when_it_comes_if_its_key_was_given(
    fleet: Fleet, worker: Worker
) -> None:
    ledger, job = worker.ledger, make_job()
    assert await ledger.cancel(asked(job)) == UnknownJob()
    assert await ledger.find(job) is None
    assert await ledger.cancel(asked(job, by_key=True)) == CalledOff()
    assert await ledger.find(job) == CalledOff()
    assert await ledger.begin(job, max_attempts=3) == CalledOff()
    await ledger.end(job, CANCELLED, CALLED_OFF, work=NO_CALL, claimed=False)
    assert isinstance(await ledger.find(make_job(submission="s2")), Ended)
    fleet.clock.pass_by(timedelta(days=11))
    await worker.sweep()
    assert isinstance(await ledger.begin(job, max_attempts=3), Started)


async def test_a_wish_for_a_job_that_never_comes_is_forgotten_in_the_end(
    fleet: Fleet, worker: Worker
) -> None:
    await worker.ledger.cancel(asked(make_job(), by_key=True))
    fleet.clock.pass_by(timedelta(days=11))
    await worker.sweep()
    assert await worker.ledger.find(make_job()) is None


async def test_an_ended_job_is_not_cancelled_and_a_dead_letter_can_still_be_replayed(
    ledger: Ledger,
) -> None:
    await dead_letter(ledger, make_job())
    found = await ledger.cancel(asked(make_job()))
    assert isinstance(found, Settled)
    assert found.ended.record.state is State.DEAD_LETTERED
    assert not found.ended.written
    replay = make_job(run=2, first=False)
    assert isinstance(await ledger.begin(replay, max_attempts=3), Started)
