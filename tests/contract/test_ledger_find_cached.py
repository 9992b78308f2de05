"""`find` with the cache: what it keeps for a job of which nothing was decided, in the same visit."""

from dataclasses import replace
from datetime import timedelta

from producer_sdk.wire import Dedupe, Source
from tests.contract.world import (
    ANSWER,
    LATER_ANSWER,
    Fleet,
    Worker,
    as_ended,
    asked,
    complete,
    make_job,
    park,
)
from worker.core.events import Trouble
from worker.core.model import CalledOff, Conflict, Parked

JOB = make_job(dedupe=Dedupe.CACHE)
KEPT = replace(LATER_ANSWER, source=Source.CACHE)


async def test_what_is_kept_is_found_byte_for_byte_where_it_is_asked_for(
    fleet: Fleet, worker: Worker
) -> None:
    body = bytes(range(256))
    await worker.cache.put(JOB.fingerprint, replace(LATER_ANSWER, body=body))
    assert await worker.ledger.find(JOB, cached=True) == replace(KEPT, body=body)
    assert await worker.ledger.find(JOB) is None
    assert fleet.archive().explain(JOB.id) is None


async def test_what_is_not_kept_is_not_found(worker: Worker) -> None:
    await worker.cache.put(make_job(tenant="zeta").fingerprint, ANSWER)
    await worker.cache.put(make_job(tier="large").fingerprint, ANSWER)
    assert await worker.ledger.find(JOB, cached=True) is None


async def test_an_entry_is_found_until_its_life_ends_however_often_it_is_used(
    fleet: Fleet, worker: Worker
) -> None:
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    for _ in range(3):
        fleet.clock.pass_by(timedelta(hours=7, minutes=50))
        assert await worker.ledger.find(JOB, cached=True) == KEPT
    fleet.clock.pass_by(timedelta(minutes=40))
    assert await worker.ledger.find(JOB, cached=True) is None


async def test_what_is_found_is_used_and_goes_last_when_there_is_no_room(fleet: Fleet) -> None:
    small = await fleet.join(small=True)
    jobs = [make_job(content_hash=f"c{number}") for number in range(4)]
    for job in jobs[:3]:
        await small.cache.put(job.fingerprint, replace(ANSWER, body=b"x" * 3_000))
        fleet.clock.pass_by(timedelta(hours=1))
    assert await small.ledger.find(jobs[0], cached=True) is not None
    await small.cache.put(jobs[3].fingerprint, replace(ANSWER, body=b"x" * 3_000))
    kept = [await small.ledger.find(job, cached=True) is not None for job in jobs]
    assert kept == [True, False, True, True]


async def test_what_was_decided_goes_before_what_is_kept(worker: Worker) -> None:
    ledger = worker.ledger
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    await complete(ledger, JOB)
    assert as_ended(await ledger.find(JOB, cached=True)).record.outcome == ANSWER
    other = replace(JOB, content_hash="c2")
    await worker.cache.put(other.fingerprint, LATER_ANSWER)
    assert await ledger.find(other, cached=True) == Conflict()
    parked = make_job("k2", dedupe=Dedupe.CACHE, content_hash="c3")
    await worker.cache.put(parked.fingerprint, LATER_ANSWER)
    await ledger.begin(parked, max_attempts=3)
    await park(ledger, parked)
    assert isinstance(await ledger.find(parked, cached=True), Parked)
    cancelled = make_job("k3", dedupe=Dedupe.CACHE)
    await ledger.cancel(asked(cancelled, by_key=True))
    assert await ledger.find(cancelled, cached=True) == CalledOff()


async def test_a_damaged_entry_is_a_miss_is_told_and_is_dropped(
    fleet: Fleet, worker: Worker
) -> None:
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    await fleet.damage_responses()
    for _ in range(2):
        assert await worker.ledger.find(JOB, cached=True) is None
    assert [type(event) for event in fleet.ear.heard] == [Trouble]
