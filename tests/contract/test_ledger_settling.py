"""`end`, `park` and `carried`; `released` and `wanted_until`: what becomes of a run, and who hears."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from producer_sdk.wire import Dedupe, Status
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    EXPIRED,
    INVALID,
    LATE,
    LATER_ANSWER,
    NO_CALL,
    ONE_CALL,
    TIMEOUT,
    Fleet,
    Worker,
    as_ended,
    carry_all,
    complete,
    dead_letter,
    ids,
    make_job,
)
from worker.core.events import Trouble
from worker.core.kinds import Kind
from worker.core.model import (
    Answered,
    Completed,
    DeadLetter,
    Early,
    Ended,
    Failed,
    Follow,
    Job,
    Parked,
    Reply,
    Retry,
    Snooze,
    Stale,
    Started,
    State,
    Submission,
    Tally,
    Work,
    next_generation,
)
from worker.core.replies import reply
from worker.ports import Ledger

SOON = BEGAN + timedelta(seconds=30)
RETRY = Retry(after=timedelta(seconds=30))
SNOOZE = Snooze(after=timedelta(milliseconds=1500))
LETTER = DeadLetter(reason=Kind.INVALID_REQUEST)
LONG = timedelta(seconds=60)


# end


async def test_the_record_tells_the_outcome_the_cost_and_the_times(
    fleet: Fleet, ledger: Ledger
) -> None:
    job = make_job()  # submitted two seconds before the clock's begin
    fleet.clock.pass_by(timedelta(seconds=1))
    await ledger.begin(job, max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=5))
    work = Work(calls=2, refusals=1, upstream=timedelta(seconds=4))
    told = as_ended(await ledger.end(job, ANSWER, DONE, work=work, claimed=True))
    record = told.record
    assert (record.job_id, record.run, record.state) == (job.id, 1, State.COMPLETED)
    assert record.outcome == ANSWER
    assert record.tally == Tally(attempts=1, calls=2, refusals=1)
    assert record.waited == timedelta(seconds=3)
    assert record.upstream == timedelta(seconds=4)
    assert record.total == timedelta(seconds=8)
    assert not told.letter_due


async def test_the_cost_reaches_the_reply_and_every_later_one_to_the_last_digit(
    ledger: Ledger,
) -> None:
    ended = await complete(ledger, make_job())
    later = as_ended(await ledger.find(make_job(submission="s2")))
    for told in (ended, later):
        assert isinstance(told.record.outcome, Completed)
        assert told.record.outcome.usage == ANSWER.usage
        assert reply(told.record, told.hear[0]).cost == ANSWER.cost


async def test_a_shared_answer_cost_its_follower_nothing(ledger: Ledger) -> None:
    first = make_job("k1", dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    await complete(ledger, first)
    answered = await ledger.begin(follower, max_attempts=3)
    assert isinstance(answered, Answered)
    ended = as_ended(
        await ledger.end(follower, answered.outcome, DONE, work=NO_CALL, claimed=False)
    )
    assert reply(ended.record, ended.hear[0]).cost == 0


async def test_a_producers_clock_that_runs_ahead_makes_no_negative_times(ledger: Ledger) -> None:
    job = make_job(submitted_at=BEGAN + timedelta(days=1))
    record = (await complete(ledger, job)).record
    assert record.waited == record.total == timedelta()


@pytest.mark.parametrize(
    ("settlement", "outcome", "state"),
    [
        (Reply(status=Status.COMPLETED), ANSWER, State.COMPLETED),
        (Reply(status=Status.EXPIRED), LATE, State.EXPIRED),
        (Reply(status=Status.CANCELLED), Failed(kind=Kind.CANCELLED), State.CANCELLED),
        (Reply(status=Status.REFUSED), Failed(kind=Kind.BUDGET_EXCEEDED), State.REFUSED),
        (LETTER, INVALID, State.DEAD_LETTERED),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
@pytest.mark.parametrize("claimed", [True, False])
async def test_every_end_is_found_as_it_was_told(
    ledger: Ledger,
    settlement: Reply | DeadLetter,
    outcome: Failed,
    state: State,
    *,
    claimed: bool,
) -> None:
    job = make_job()
    if claimed:
        await ledger.begin(job, max_attempts=3)
    told = as_ended(await ledger.end(job, outcome, settlement, work=NO_CALL, claimed=claimed))
    assert told.record.state is state
    assert told.record.outcome == outcome
    assert told.letter_due == isinstance(settlement, DeadLetter)
    assert as_ended(await ledger.find(job)) == told


async def test_the_first_terminal_record_wins(ledger: Ledger) -> None:
    first = await complete(ledger, make_job())
    for claimed in (True, False):
        later = await ledger.end(make_job(), LATE, EXPIRED, work=ONE_CALL, claimed=claimed)
        assert later == first
    assert as_ended(await ledger.find(make_job())).record.outcome == ANSWER


async def test_an_end_without_a_claim_does_not_end_a_job_whose_call_runs(fleet: Fleet) -> None:
    caller, other = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    for worker in (caller, other):
        told = await worker.ledger.end(make_job(), LATE, EXPIRED, work=NO_CALL, claimed=False)
        assert told == Follow(leader=make_job().id)
    ended = await caller.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert as_ended(ended).record.outcome == ANSWER


async def test_an_end_without_a_claim_ends_a_job_whose_caller_died(fleet: Fleet) -> None:
    caller, other = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    await fleet.kill(caller)
    told = await other.ledger.end(make_job(), LATE, EXPIRED, work=NO_CALL, claimed=False)
    assert as_ended(told).record.state is State.EXPIRED


async def test_a_call_ends_its_run_also_when_a_follower_parked_its_redelivery(fleet: Fleet) -> None:
    caller, other = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    soon = fleet.clock.now() + timedelta(seconds=2)
    snooze = Snooze(after=timedelta(seconds=2))
    await other.ledger.park(make_job(), snooze, soon, work=NO_CALL, why=None, claimed=False)
    ended = as_ended(await caller.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert ended.written
    copy = make_job(generation=1, first=False)
    assert as_ended(await other.ledger.find(copy)).record.outcome == ANSWER


async def test_what_a_call_was_told_to_wait_binds_the_copy_that_a_follower_parked(
    fleet: Fleet,
) -> None:
    caller, other = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    soon = fleet.clock.now() + timedelta(seconds=2)
    late = fleet.clock.now() + timedelta(minutes=10)
    snooze = Snooze(after=timedelta(seconds=2))
    await other.ledger.park(make_job(), snooze, soon, work=NO_CALL, why=None, claimed=False)
    refused = Work(refusals=1)
    told = await caller.ledger.park(
        make_job(), Snooze(after=late - soon), late, work=refused, why=TIMEOUT, claimed=True
    )
    assert isinstance(told, Parked)
    fleet.clock.pass_by(timedelta(seconds=3))
    copy = replace(make_job(generation=1, first=False), not_before=soon)
    assert await other.ledger.begin(copy, max_attempts=3) == Early(until=late)
    fleet.clock.pass_by(timedelta(minutes=10))
    begun = await other.ledger.begin(copy, max_attempts=3)
    assert isinstance(begun, Started)
    assert (begun.tally.attempts, begun.tally.refusals) == (1, 1)


async def test_a_process_knows_whether_it_still_holds_the_claim(fleet: Fleet) -> None:
    caller, other = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    assert await caller.ledger.holds(make_job())
    assert not await other.ledger.holds(make_job())
    await caller.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert not await caller.ledger.holds(make_job())


async def test_nobody_takes_over_a_claim_right_after_its_holder_was_told_that_it_holds_it(
    worker: Worker, fleet: Fleet
) -> None:
    other = await fleet.join()
    await worker.ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=20))
    await other.renew()
    held = await worker.ledger.holds(make_job())
    begun = await other.ledger.begin(make_job(), max_attempts=3)
    assert isinstance(begun, Follow if held else Started)


async def test_no_job_is_begun_again_after_its_end(ledger: Ledger) -> None:
    await complete(ledger, make_job())
    assert isinstance(await ledger.begin(make_job(), max_attempts=9), Ended)


async def test_a_lost_claim_of_a_job_that_another_process_calls_for_is_stale(
    fleet: Fleet, worker: Worker
) -> None:
    other = await _taken_over(fleet, worker, make_job())
    assert isinstance(await other.ledger.begin(make_job(), max_attempts=3), Started)
    told = await worker.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert told == Stale()
    parked = await worker.ledger.park(
        make_job(), RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True
    )
    assert parked == Stale()
    assert await other.ledger.find(make_job()) is None


async def test_a_lost_claim_gets_what_its_taker_has_recorded(fleet: Fleet, worker: Worker) -> None:
    other = await _taken_over(fleet, worker, make_job())
    first = await complete(other.ledger, make_job(), LATER_ANSWER)
    told = await worker.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert told == first


@pytest.mark.parametrize("settle", ["end", "park"])
async def test_a_claim_lost_to_another_job_loses_neither_the_job_nor_its_outcome(
    fleet: Fleet, worker: Worker, settle: str
) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    other = await _taken_over(fleet, worker, leader)
    taker = make_job("k2", dedupe=Dedupe.INFLIGHT)
    assert isinstance(await other.ledger.begin(taker, max_attempts=3), Started)
    # Nobody but this delivery carries the leader: were it told `Stale`, it would be acked and lost.
    if settle == "end":
        told = await worker.ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert as_ended(told).record.outcome == ANSWER
    else:
        parked = await worker.ledger.park(
            leader, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True
        )
        assert isinstance(parked, Parked)
    follower = make_job("k3", dedupe=Dedupe.INFLIGHT)
    assert getattr(await other.ledger.begin(follower, max_attempts=3), "leader", "") == taker.id


async def _taken_over(fleet: Fleet, worker: Worker, job: Job) -> Worker:
    """Let the worker begin the job and lose its lease; give another that lives."""
    other = await fleet.join()
    await worker.ledger.begin(job, max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=20))
    await other.renew()
    return other


async def test_the_bytes_of_a_response_come_back_as_they_were(ledger: Ledger) -> None:
    body = bytes(range(256)) * 4096
    job = make_job()
    await complete(ledger, job, replace(ANSWER, body=body, usage=None, model=None))
    outcome = as_ended(await ledger.find(job)).record.outcome
    assert outcome == replace(ANSWER, body=body, usage=None, model=None)


async def test_a_response_outlives_its_time_as_a_record_without_outcome(
    fleet: Fleet, worker: Worker
) -> None:
    await complete(worker.ledger, make_job())
    fleet.clock.pass_by(timedelta(hours=25))
    for _ in range(2):  # expired, and then swept away
        found = as_ended(await worker.ledger.begin(make_job(), max_attempts=3))
        assert (found.record.state, found.record.outcome) == (State.COMPLETED, None)
        await worker.sweep()


async def test_a_failure_outlives_the_responses_time(fleet: Fleet, worker: Worker) -> None:
    await dead_letter(worker.ledger, make_job())
    fleet.clock.pass_by(timedelta(hours=25))
    await worker.sweep()
    assert as_ended(await worker.ledger.find(make_job())).record.outcome == INVALID


async def test_a_response_that_does_not_match_its_checksum_counts_as_expired_and_is_told(
    fleet: Fleet, ledger: Ledger
) -> None:
    await complete(ledger, make_job())
    await fleet.damage_responses()
    assert as_ended(await ledger.find(make_job())).record.outcome is None
    assert any(isinstance(event, Trouble) for event in fleet.ear.heard)


async def test_a_record_is_forgotten_after_its_lifetime_and_not_before(
    fleet: Fleet, worker: Worker
) -> None:
    await complete(worker.ledger, make_job())
    fleet.clock.pass_by(timedelta(days=9, hours=23))
    await worker.sweep()
    assert isinstance(await worker.ledger.find(make_job()), Ended)
    fleet.clock.pass_by(timedelta(hours=2))
    await worker.sweep()
    assert await worker.ledger.find(make_job()) is None
    assert fleet.archive().explain(make_job().id) is None


async def test_an_open_job_is_kept_for_its_lifetime_after_its_deadline(
    fleet: Fleet, worker: Worker
) -> None:
    job = make_job(deadline=BEGAN + timedelta(days=20))
    await worker.ledger.begin(job, max_attempts=3)
    await worker.ledger.park(job, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    fleet.clock.pass_by(timedelta(days=29))
    await worker.sweep()
    assert isinstance(await worker.ledger.find(job), Parked)


async def test_a_job_whose_call_runs_is_never_forgotten(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(timedelta(days=100))
    await worker.sweep()
    told = await worker.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert as_ended(told).record.tally.attempts == 1


# park


async def test_the_first_settlement_of_a_generation_wins(ledger: Ledger) -> None:
    job = make_job()
    first = await ledger.park(job, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    assert first == Parked(settlement=SNOOZE, until=SOON, carried=False)
    later = await ledger.park(job, RETRY, BEGAN, work=NO_CALL, why=None, claimed=False)
    assert later == first
    assert await ledger.end(job, LATE, EXPIRED, work=NO_CALL, claimed=False) == first


async def test_parking_releases_the_claim(ledger: Ledger) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.park(leader, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    other = make_job("k2", dedupe=Dedupe.INFLIGHT)
    assert isinstance(await ledger.begin(other, max_attempts=3), Started)


async def test_parking_without_a_claim_gives_no_attempt_back(ledger: Ledger) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=3)
    await ledger.park(job, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    copy = next_generation(job, not_before=SOON)
    await ledger.park(copy, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    copy = next_generation(copy, not_before=SOON)
    begun = await ledger.begin(copy, max_attempts=3)
    assert begun == Started(attempt=2, tally=Tally(attempts=2, calls=1, snoozes=1))


async def test_a_replay_can_be_parked_before_it_ever_began(ledger: Ledger) -> None:
    await dead_letter(ledger, make_job())
    again = make_job(run=2, first=False)
    parked = await ledger.park(again, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    assert isinstance(parked, Parked)
    assert await ledger.find(make_job()) == Stale()
    copy = next_generation(again, not_before=SOON)
    assert isinstance(await ledger.begin(copy, max_attempts=1), Started)


async def test_only_a_parking_with_a_reason_stands_in_the_history(
    fleet: Fleet, ledger: Ledger
) -> None:
    job = make_job()
    await ledger.park(job, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    copy = next_generation(job, not_before=SOON)
    await ledger.begin(copy, max_attempts=3)
    await ledger.park(copy, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    explained = fleet.archive().explain(job.id)
    assert explained is not None
    (line,) = explained.history
    assert (line.what, line.kind, line.attempt, line.generation) == ("retry", "timeout", 1, 1)
    assert (line.endpoint, line.calls, line.upstream_ms) == ("alpha", 1, 250)


# carried


async def test_only_those_who_heard_are_marked(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    await ledger.begin(make_job(submission="s2"), max_attempts=3)
    await ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    await ledger.carried(make_job(), [make_job().submission], letter=False)
    assert ids(as_ended(await ledger.find(make_job())).hear) == {"s2"}


async def test_an_unknown_submission_that_heard_is_remembered(ledger: Ledger) -> None:
    await complete(ledger, make_job())
    late = make_job(submission="late")
    await ledger.carried(late, [late.submission], letter=False)
    assert ids(as_ended(await ledger.find(late)).hear) == {"s1"}


async def test_a_letter_is_due_until_it_is_carried(ledger: Ledger) -> None:
    told = await dead_letter(ledger, make_job())
    await ledger.carried(make_job(), told.hear, letter=False)
    assert as_ended(await ledger.find(make_job())).letter_due
    await ledger.carried(make_job(), [], letter=True)
    found = as_ended(await ledger.find(make_job()))
    assert (found.letter_due, found.hear) == (False, ())


async def test_a_late_note_of_an_older_generation_marks_no_other(ledger: Ledger) -> None:
    job = make_job()
    await ledger.park(job, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    copy = next_generation(job, not_before=SOON)
    await ledger.park(copy, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    await ledger.carried(job, [], letter=False)
    assert await ledger.find(copy) == Parked(settlement=SNOOZE, until=SOON, carried=False)


@pytest.mark.parametrize("again", ["open", "ended"])
async def test_a_late_note_of_an_older_run_quiets_nobody_in_the_new_one(
    ledger: Ledger, again: str
) -> None:
    told = await dead_letter(ledger, make_job())
    replayed = make_job(run=2, first=False)
    await ledger.begin(replayed, max_attempts=3)
    if again == "ended":
        await ledger.end(replayed, INVALID, LETTER, work=ONE_CALL, claimed=True)
    await carry_all(ledger, make_job(), told)
    if again == "open":
        await ledger.end(replayed, INVALID, LETTER, work=ONE_CALL, claimed=True)
    found = as_ended(await ledger.find(replayed))
    assert (ids(found.hear), found.letter_due) == ({"s1"}, True)


async def test_a_note_about_an_unknown_job_changes_nothing(ledger: Ledger) -> None:
    await ledger.carried(make_job(), [Submission(id="s1", reply_to=None)], letter=True)
    assert await ledger.find(make_job()) is None


async def test_the_claim_of_a_dead_process_keeps_no_job_beyond_its_time(
    fleet: Fleet, worker: Worker
) -> None:
    dying = await fleet.join()
    await dying.ledger.begin(make_job("k1"), max_attempts=3)
    await worker.ledger.begin(make_job("k2"), max_attempts=3)
    await fleet.kill(dying)
    await worker.sweep()
    assert fleet.archive().explain(make_job("k1").id) is not None
    fleet.clock.pass_by(timedelta(days=11))
    await worker.renew()
    await worker.sweep()
    assert fleet.archive().explain(make_job("k1").id) is None
    assert fleet.archive().explain(make_job("k2").id) is not None


# released and wanted_until


@pytest.mark.parametrize("by", ["this process", "another process"])
@pytest.mark.parametrize("settle", ["end", "park"])
async def test_a_follower_is_woken_by_the_release(
    fleet: Fleet, worker: Worker, by: str, settle: str
) -> None:
    leader = worker if by == "this process" else await fleet.join()
    job = make_job(dedupe=Dedupe.INFLIGHT)
    await leader.ledger.begin(job, max_attempts=3)
    waits = [
        asyncio.create_task(worker.ledger.released(job.claim_key, at_most=LONG)) for _ in range(3)
    ]
    done, _ = await asyncio.wait(waits, timeout=0.1)
    assert not done
    if settle == "end":
        await leader.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)
    else:
        await leader.ledger.park(job, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    await asyncio.wait_for(asyncio.gather(*waits), 10)


async def test_a_follower_is_woken_by_the_holders_death(fleet: Fleet, worker: Worker) -> None:
    leader = await fleet.join()
    job = make_job(dedupe=Dedupe.INFLIGHT)
    await leader.ledger.begin(job, max_attempts=3)
    wait = asyncio.create_task(worker.ledger.released(job.claim_key, at_most=LONG))
    await worker.ledger.find(job)
    await fleet.kill(leader)
    await asyncio.wait_for(wait, 10)


async def test_a_free_claim_is_not_waited_for(ledger: Ledger) -> None:
    await asyncio.wait_for(ledger.released("acme:c1", at_most=LONG), 10)


@pytest.mark.parametrize("at_most", [timedelta(milliseconds=20), timedelta(), -LONG])
async def test_a_wait_ends_by_its_own_time(ledger: Ledger, at_most: timedelta) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    await asyncio.wait_for(ledger.released(make_job().claim_key, at_most=at_most), 10)


async def test_a_claim_is_wanted_until_the_latest_deadline_of_its_followers(ledger: Ledger) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    assert await ledger.wanted_until(leader.claim_key) is None
    for key, hours in (("k2", 2), ("k3", 5), ("k4", 3)):
        deadline = BEGAN + timedelta(hours=hours)
        follower = make_job(key, dedupe=Dedupe.INFLIGHT, deadline=deadline)
        await ledger.begin(follower, max_attempts=3)
    assert await ledger.wanted_until(leader.claim_key) == BEGAN + timedelta(hours=5)


async def test_a_submission_that_joins_a_running_job_wants_its_call_too(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    deadline = BEGAN + timedelta(hours=7)
    await ledger.begin(make_job(submission="s2", deadline=deadline), max_attempts=3)
    assert await ledger.wanted_until(make_job().claim_key) == deadline


async def test_nobody_wants_a_claim_that_is_not_held(ledger: Ledger) -> None:
    assert await ledger.wanted_until("acme:c1") is None
