"""`find` and `begin`: what is known of a delivery, and who may call."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from producer_sdk.wire import Dedupe, Source
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
from worker.core.kinds import Kind
from worker.core.model import (
    Answered,
    Conflict,
    DeadLetter,
    Ended,
    Exhausted,
    Failed,
    Follow,
    Job,
    Joined,
    Parked,
    Retry,
    Snooze,
    Stale,
    Started,
    State,
    Tally,
    next_generation,
)
from worker.ports import Ledger

SOON = BEGAN + timedelta(seconds=30)
RETRY = Retry(after=timedelta(seconds=30))
SNOOZE = Snooze(after=timedelta(seconds=2))


async def park(ledger: Ledger, job: Job, settlement: Retry | Snooze = RETRY) -> Job:
    """Begin a job, park it, and give its parked copy."""
    await ledger.begin(job, max_attempts=9)
    parked = await ledger.park(job, settlement, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    assert isinstance(parked, Parked)
    return next_generation(job, not_before=SOON)


def replay(job: Job) -> Job:
    return replace(job, run=job.run + 1, generation=0, first=False)


async def test_an_unknown_job_may_go_on_and_find_writes_nothing(
    fleet: Fleet, ledger: Ledger
) -> None:
    assert await ledger.find(make_job()) is None
    assert fleet.archive().explain(make_job().id) is None


async def test_the_first_begin_starts_and_counts(ledger: Ledger) -> None:
    begun = await ledger.begin(make_job(), max_attempts=3)
    assert begun == Started(attempt=1, tally=Tally(attempts=1))


async def test_a_begun_job_is_still_undecided(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    assert await ledger.find(make_job()) is None


@pytest.mark.parametrize("state", ["open", "ended"])
async def test_a_key_with_another_body_is_a_conflict(ledger: Ledger, state: str) -> None:
    if state == "ended":
        await complete(ledger, make_job())
    else:
        await ledger.begin(make_job(), max_attempts=3)
    other = make_job(submission="s2", content_hash="c2")
    assert await ledger.find(other) == Conflict()
    assert await ledger.begin(other, max_attempts=3) == Conflict()
    assert await ledger.end(other, LATE, EXPIRED, work=NO_CALL, claimed=False) == Conflict()


async def test_a_conflicting_submission_neither_hears_nor_quiets_the_job(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    other = make_job(submission="s2", content_hash="c2")
    await ledger.begin(other, max_attempts=3)
    ended = as_ended(await ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert ids(ended.hear) == {"s1"}
    await ledger.carried(other, [make_job().submission], letter=False)
    assert ids(as_ended(await ledger.find(make_job())).hear) == {"s1"}


@pytest.mark.parametrize("tenant", ["acme", "zeta"])
async def test_the_same_key_of_another_tenant_is_another_job(ledger: Ledger, tenant: str) -> None:
    await complete(ledger, make_job(tenant="acme"))
    found = await ledger.find(make_job(tenant=tenant, submission="s2"))
    assert isinstance(found, Ended) == (tenant == "acme")


async def test_an_ended_run_is_found_with_the_submission_that_has_not_heard(ledger: Ledger) -> None:
    told = await complete(ledger, make_job())
    assert as_ended(await ledger.find(make_job())) == told
    assert as_ended(await ledger.begin(make_job(), max_attempts=3)) == told
    assert ids(told.hear) == {"s1"}


async def test_an_unknown_submission_of_an_ended_job_hears_though_find_wrote_nothing(
    fleet: Fleet, ledger: Ledger
) -> None:
    await carry_all(ledger, make_job(), await complete(ledger, make_job()))
    late = make_job(submission="late")
    assert ids(as_ended(await ledger.find(late)).hear) == {"late"}
    explained = fleet.archive().explain(late.id)
    assert explained is not None
    assert [submission.id for submission, _ in explained.submissions] == ["s1"]


async def test_a_submission_that_has_heard_is_not_named_again(ledger: Ledger) -> None:
    await carry_all(ledger, make_job(), await complete(ledger, make_job()))
    assert as_ended(await ledger.find(make_job())).hear == ()


async def test_the_parked_generation_is_found_as_parked_until_and_after_it_was_carried(
    ledger: Ledger,
) -> None:
    await park(ledger, make_job())
    waiting = Parked(settlement=RETRY, until=SOON, carried=False)
    assert await ledger.find(make_job()) == waiting
    assert await ledger.begin(make_job(), max_attempts=3) == waiting
    await ledger.carried(make_job(), [], letter=False)
    assert await ledger.find(make_job()) == replace(waiting, carried=True)


async def test_the_parked_copy_itself_may_go_on_and_counts_the_next_attempt(ledger: Ledger) -> None:
    copy = await park(ledger, make_job())
    assert await ledger.find(copy) is None
    begun = await ledger.begin(copy, max_attempts=3)
    assert begun == Started(attempt=2, tally=Tally(attempts=2, calls=1))


async def test_older_generations_are_stale(ledger: Ledger) -> None:
    copy = await park(ledger, await park(ledger, make_job()))
    for older in (make_job(), replace(copy, generation=0)):
        assert await ledger.find(older) == Stale()
        assert await ledger.begin(older, max_attempts=9) == Stale()
    assert isinstance(await ledger.find(replace(copy, generation=1)), Parked)


async def test_a_new_submission_of_an_open_job_joins_and_hears_at_its_end(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    second = make_job(submission="s2")
    assert await ledger.find(second) is None
    for _ in range(2):
        assert await ledger.begin(second, max_attempts=3) == Joined()
    ended = as_ended(await ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert set(ended.hear) == {make_job().submission, second.submission}


async def test_a_submission_that_joins_a_parked_job_starts_no_call(ledger: Ledger) -> None:
    await park(ledger, make_job())
    assert await ledger.begin(make_job(submission="s2"), max_attempts=3) == Joined()


@pytest.mark.parametrize("settle", ["end", "park"])
async def test_a_joined_submission_can_neither_end_nor_park_the_job(
    ledger: Ledger, settle: str
) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    second = make_job(submission="s2")
    if settle == "end":
        told = await ledger.end(second, LATE, EXPIRED, work=NO_CALL, claimed=False)
    else:
        told = await ledger.park(second, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    assert told == Joined()
    ended = as_ended(await ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert ended.record.state is State.COMPLETED
    assert ids(ended.hear) == {"s1", "s2"}


async def test_a_second_delivery_of_a_running_job_follows_it(ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    assert await ledger.begin(make_job(), max_attempts=3) == Follow(leader=make_job().id)


async def test_another_process_follows_a_running_job(fleet: Fleet, ledger: Ledger) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    other = await fleet.join()
    assert await other.ledger.begin(make_job(), max_attempts=3) == Follow(leader=make_job().id)


async def test_a_job_holds_one_claim_even_when_its_deliveries_disagree_about_sharing(
    ledger: Ledger,
) -> None:
    await ledger.begin(make_job(dedupe=Dedupe.OFF), max_attempts=3)
    shared = make_job(dedupe=Dedupe.INFLIGHT)
    assert await ledger.begin(shared, max_attempts=3) == Follow(leader=shared.id)


@pytest.mark.parametrize("dedupe", [Dedupe.INFLIGHT, Dedupe.CACHE])
async def test_the_same_request_follows_the_running_one_if_it_may_share(
    ledger: Ledger, dedupe: Dedupe
) -> None:
    leader = make_job("k1", dedupe=dedupe)
    await ledger.begin(leader, max_attempts=3)
    assert await ledger.begin(make_job("k2", dedupe=dedupe), max_attempts=3) == Follow(
        leader=leader.id
    )


@pytest.mark.parametrize(
    "other",
    [
        make_job("k2", dedupe=Dedupe.OFF),
        make_job("k2", dedupe=Dedupe.INFLIGHT, content_hash="c2"),
        make_job("k2", dedupe=Dedupe.INFLIGHT, tenant="zeta"),
    ],
    ids=["sharing is off", "another request", "another tenant"],
)
async def test_whoever_may_not_share_calls_itself(ledger: Ledger, other: Job) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    assert isinstance(await ledger.begin(other, max_attempts=3), Started)


async def test_following_counts_no_attempt(ledger: Ledger) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    for _ in range(5):
        await ledger.begin(follower, max_attempts=3)
    await ledger.park(leader, RETRY, SOON, work=ONE_CALL, why=TIMEOUT, claimed=True)
    assert await ledger.begin(follower, max_attempts=3) == Started(
        attempt=1, tally=Tally(attempts=1)
    )


@pytest.mark.parametrize("dedupe", [Dedupe.INFLIGHT, Dedupe.CACHE])
async def test_a_follower_is_answered_with_the_leaders_response(
    fleet: Fleet, ledger: Ledger, dedupe: Dedupe
) -> None:
    leader = make_job("k1", dedupe=dedupe)
    follower = make_job("k2", dedupe=dedupe)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(follower, max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=1))
    await ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)
    answered = await ledger.begin(follower, max_attempts=3)
    assert answered == Answered(outcome=replace(ANSWER, source=Source.SHARED))


async def test_a_follower_keeps_its_place_over_being_parked(fleet: Fleet, ledger: Ledger) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(follower, max_attempts=3)
    await ledger.park(follower, SNOOZE, SOON, work=NO_CALL, why=None, claimed=False)
    fleet.clock.pass_by(timedelta(seconds=1))
    await ledger.end(leader, ANSWER, DONE, work=ONE_CALL, claimed=True)
    later = BEGAN + timedelta(minutes=1)
    copy = replace(next_generation(follower, not_before=SOON), received_at=later)
    assert isinstance(await ledger.begin(copy, max_attempts=3), Answered)


async def test_a_follower_shares_a_permanent_failure(ledger: Ledger) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(follower, max_attempts=3)
    letter = DeadLetter(reason=Kind.INVALID_REQUEST)
    await ledger.end(leader, INVALID, letter, work=ONE_CALL, claimed=True)
    assert await ledger.begin(follower, max_attempts=3) == Answered(outcome=INVALID)


@pytest.mark.parametrize(
    "kind", [Kind.TIMEOUT, Kind.ATTEMPTS_EXHAUSTED, Kind.INTERNAL_ERROR, Kind.EXPIRED]
)
async def test_a_failure_that_is_the_leaders_own_is_not_shared(ledger: Ledger, kind: Kind) -> None:
    leader = make_job("k1", dedupe=Dedupe.CACHE)
    follower = make_job("k2", dedupe=Dedupe.CACHE)
    await ledger.begin(leader, max_attempts=3)
    await ledger.begin(follower, max_attempts=3)
    await ledger.end(
        leader, Failed(kind=kind), DeadLetter(reason=kind), work=ONE_CALL, claimed=True
    )
    assert isinstance(await ledger.begin(follower, max_attempts=3), Started)


async def test_an_outcome_from_before_is_shared_only_with_those_who_take_cached_answers(
    fleet: Fleet, ledger: Ledger
) -> None:
    await complete(ledger, make_job("k1", dedupe=Dedupe.INFLIGHT))
    fleet.clock.pass_by(timedelta(seconds=10))
    now = fleet.clock.now()
    cached = make_job("k2", dedupe=Dedupe.CACHE, received_at=now)
    assert isinstance(await ledger.begin(cached, max_attempts=3), Answered)
    inflight = make_job("k3", dedupe=Dedupe.INFLIGHT, received_at=now)
    assert isinstance(await ledger.begin(inflight, max_attempts=3), Started)


async def test_a_fallbacks_answer_is_shared_only_with_those_who_waited_for_it(
    fleet: Fleet, ledger: Ledger
) -> None:
    leader, follower = (make_job(key, dedupe=Dedupe.CACHE) for key in ("k1", "k2"))
    fallback = replace(ANSWER, fallback=True)
    await ledger.begin(leader, max_attempts=3)
    assert isinstance(await ledger.begin(follower, max_attempts=3), Follow)
    await ledger.end(leader, fallback, DONE, work=ONE_CALL, claimed=True)
    answered = await ledger.begin(follower, max_attempts=3)
    assert answered == Answered(outcome=replace(fallback, source=Source.SHARED))
    fleet.clock.pass_by(timedelta(seconds=10))
    later = make_job("k3", dedupe=Dedupe.CACHE, received_at=fleet.clock.now())
    assert isinstance(await ledger.begin(later, max_attempts=3), Started)


async def test_a_failure_from_before_is_shared_with_nobody(fleet: Fleet, ledger: Ledger) -> None:
    await dead_letter(ledger, make_job("k1", dedupe=Dedupe.CACHE))
    fleet.clock.pass_by(timedelta(seconds=10))
    later = make_job("k2", dedupe=Dedupe.CACHE, received_at=fleet.clock.now())
    assert isinstance(await ledger.begin(later, max_attempts=3), Started)


async def test_a_replay_is_not_answered_with_the_failure_that_it_is_to_mend(ledger: Ledger) -> None:
    jobs = [make_job(key, dedupe=Dedupe.CACHE) for key in ("k1", "k2")]
    for job in jobs:
        await ledger.begin(job, max_attempts=3)
    await dead_letter(ledger, jobs[0])
    letter = DeadLetter(reason=Kind.INVALID_REQUEST)
    await ledger.end(jobs[1], INVALID, letter, work=NO_CALL, claimed=False)
    assert isinstance(await ledger.begin(replay(jobs[0]), max_attempts=3), Started)


async def test_an_answer_of_a_run_that_was_replayed_since_is_shared_with_nobody(
    ledger: Ledger,
) -> None:
    leader = make_job("k1", dedupe=Dedupe.INFLIGHT)
    await dead_letter(ledger, leader)
    await complete(ledger, replay(replace(leader, dedupe=Dedupe.OFF)))
    follower = make_job("k2", dedupe=Dedupe.INFLIGHT)
    assert isinstance(await ledger.begin(follower, max_attempts=3), Started)


async def test_no_attempts_left_is_exhausted_and_counts_nothing(ledger: Ledger) -> None:
    copy = await park(ledger, await park(ledger, make_job()))
    for _ in range(2):
        assert await ledger.begin(copy, max_attempts=2) == Exhausted(
            tally=Tally(attempts=2, calls=2)
        )


async def test_a_snoozed_call_gives_its_attempt_back_and_keeps_its_work(ledger: Ledger) -> None:
    copy = await park(ledger, make_job(), SNOOZE)
    assert await ledger.begin(copy, max_attempts=1) == Started(
        attempt=1, tally=Tally(attempts=1, calls=1, snoozes=1)
    )


# Death


async def test_a_dead_process_leaves_its_claim_to_the_next_and_its_attempt_counts(
    fleet: Fleet, worker: Worker
) -> None:
    other = await fleet.join()
    await worker.ledger.begin(make_job(), max_attempts=3)
    await fleet.kill(worker)
    begun = await other.ledger.begin(make_job(), max_attempts=3)
    assert begun == Started(attempt=2, tally=Tally(attempts=2))
    explained = fleet.archive().explain(make_job().id)
    assert explained is not None
    assert [line.what for line in explained.history] == ["taken over"]


async def test_workers_that_all_die_exhaust_the_job(fleet: Fleet) -> None:
    for attempt in (1, 2):
        worker = await fleet.join()
        begun = await worker.ledger.begin(make_job(), max_attempts=2)
        assert isinstance(begun, Started)
        assert begun.attempt == attempt
        await fleet.kill(worker)
    last = await fleet.join()
    assert isinstance(await last.ledger.begin(make_job(), max_attempts=2), Exhausted)


async def test_a_lease_that_runs_out_frees_the_claim_of_a_living_process(
    fleet: Fleet, worker: Worker
) -> None:
    other = await fleet.join()
    await worker.ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=14))
    await other.renew()
    assert isinstance(await other.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance(await other.ledger.begin(make_job(), max_attempts=3), Started)


async def test_a_process_does_not_take_over_its_own_call_when_its_lease_ran_out(
    fleet: Fleet, ledger: Ledger
) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=60))
    assert await ledger.begin(make_job(), max_attempts=3) == Follow(leader=make_job().id)


async def test_a_renewed_lease_keeps_the_claim(fleet: Fleet, worker: Worker) -> None:
    other = await fleet.join()
    await worker.ledger.begin(make_job(), max_attempts=3)
    for _ in range(5):
        fleet.clock.pass_by(timedelta(seconds=10))
        await worker.renew()
        await other.renew()
    assert isinstance(await other.ledger.begin(make_job(), max_attempts=3), Follow)


async def test_who_begins_after_its_lease_ran_out_begins_under_a_new_one(
    fleet: Fleet, worker: Worker
) -> None:
    """As behind a queue of begins, or after a suspension: the renewal that is due has not had its turn."""
    other = await fleet.join()
    fleet.clock.pass_by(timedelta(seconds=16))
    await other.renew()
    assert isinstance(await worker.ledger.begin(make_job(), max_attempts=3), Started)
    assert isinstance(await other.ledger.begin(make_job(), max_attempts=3), Follow)


async def test_a_late_renewal_does_not_bring_a_lost_claim_back(
    fleet: Fleet, worker: Worker
) -> None:
    other = await fleet.join()
    await worker.ledger.begin(make_job(), max_attempts=3)
    fleet.clock.pass_by(timedelta(seconds=16))
    await other.renew()
    await other.ledger.begin(make_job(), max_attempts=3)
    await worker.renew()
    told = await worker.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert told == Stale()
    ended = await other.ledger.end(make_job(), LATER_ANSWER, DONE, work=ONE_CALL, claimed=True)
    assert as_ended(ended).record.outcome == LATER_ANSWER


async def test_a_begin_whose_caller_is_cancelled_holds_no_claim_and_counts_no_attempt(
    ledger: Ledger,
) -> None:
    for _ in range(10):
        begun = asyncio.create_task(ledger.begin(make_job(), max_attempts=3))
        await asyncio.sleep(0)
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        await ledger.find(make_job())
    # A begin that ran before it was cancelled is taken back at once, behind the operations that wait.
    await ledger.released(make_job().claim_key, at_most=timedelta(seconds=10))
    assert await ledger.begin(make_job(), max_attempts=3) == Started(
        attempt=1, tally=Tally(attempts=1)
    )


# Replays


async def test_a_replay_of_a_dead_letter_starts_a_fresh_run_and_all_hear_again(
    ledger: Ledger,
) -> None:
    copy = await park(ledger, make_job())
    await ledger.begin(make_job(submission="s2"), max_attempts=3)
    await carry_all(ledger, copy, await dead_letter(ledger, copy))
    again = replay(make_job())
    assert await ledger.find(again) is None
    assert await ledger.begin(again, max_attempts=1) == Started(attempt=1, tally=Tally(attempts=1))
    ended = as_ended(await ledger.end(again, ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert (ended.record.run, ended.record.tally) == (2, Tally(attempts=1, calls=1))
    assert ids(ended.hear) == {"s1", "s2"}
    assert [line.what for line in ended.history] == ["replayed", "completed"]


async def test_a_completed_job_is_never_opened_again(ledger: Ledger) -> None:
    await complete(ledger, make_job())
    for run in (2, 3, 7):
        late = replace(replay(make_job()), run=run)
        assert isinstance(await ledger.find(late), Ended)
        assert isinstance(await ledger.begin(late, max_attempts=3), Ended)


async def test_deliveries_of_an_older_run_are_stale_while_the_new_one_is_open(
    ledger: Ledger,
) -> None:
    copy = await park(ledger, make_job())
    await dead_letter(ledger, copy)
    await ledger.begin(replay(make_job()), max_attempts=3)
    for older in (make_job(), copy):
        assert await ledger.find(older) == Stale()
        assert await ledger.begin(older, max_attempts=3) == Stale()
    assert await ledger.begin(make_job(submission="s9"), max_attempts=3) == Joined()


async def test_two_copies_of_a_replay_start_one_run(ledger: Ledger) -> None:
    await dead_letter(ledger, make_job())
    again = replay(make_job())
    assert isinstance(await ledger.begin(again, max_attempts=3), Started)
    assert isinstance(await ledger.begin(again, max_attempts=3), Follow)
    await dead_letter(ledger, again)
    assert as_ended(await ledger.begin(again, max_attempts=3)).record.run == 2


@pytest.mark.parametrize(("run", "generation"), [(1, 3), (4, 0), (4, 2)])
async def test_a_trusted_delivery_that_the_ledger_has_forgotten_is_believed(
    ledger: Ledger, run: int, generation: int
) -> None:
    job = make_job(run=run, generation=generation, first=False)
    assert await ledger.find(job) is None
    assert isinstance(await ledger.begin(job, max_attempts=3), Started)
    ended = as_ended(await ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True))
    assert ended.record.run == run


async def test_a_generation_ahead_of_the_ledger_is_believed(ledger: Ledger) -> None:
    await ledger.find(make_job())
    await park(ledger, make_job())
    ahead = make_job(generation=4, first=False)
    assert isinstance(await ledger.begin(ahead, max_attempts=3), Started)
    assert await ledger.find(make_job(generation=3, first=False)) == Stale()
