"""`begin` that finds before it begins: as `find` and `begin` one after the other, whether the ledger does so or others do for it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from producer_sdk.wire import Dedupe, Source
from tests.contract.world import (
    ANSWER,
    LATER_ANSWER,
    Ear,
    Fleet,
    HandClock,
    Worker,
    as_ended,
    asked,
    complete,
    make_job,
    park,
)
from worker.core.events import Trouble
from worker.core.limits import Charge, Full, Meter, Taken
from worker.core.model import CalledOff, Conflict, Parked, Stale, Started
from worker.core.terms import Terms
from worker.counting import OneByOne
from worker.outage import Outage
from worker.patience import PatientLedger
from worker.ports import Ledger

JOB = make_job(dedupe=Dedupe.CACHE)
KEPT = replace(LATER_ANSWER, source=Source.CACHE)
ONE = Charge(meter=Meter(name="endpoint:alpha:requests", limit=1), amount=1)
TERMS = Terms(charges=(ONE,))


async def works() -> bool:
    return True


@pytest.fixture
async def ledger(worker: Worker) -> PatientLedger:
    outage = Outage(probe=works, clock=HandClock(), listener=Ear())
    one_by_one = OneByOne(limits=worker.limits, spend=worker.spend)
    return PatientLedger(worker.ledger, outage, one_by_one=one_by_one)


async def has_permit(worker: Worker, fleet: Fleet) -> bool:
    """Tell whether nothing was taken of the limit."""
    fleet.clock.pass_by(timedelta(seconds=2))
    return isinstance(await worker.limits.take([ONE]), Taken)


async def test_what_is_kept_is_given_and_nothing_is_begun_or_counted(
    fleet: Fleet, worker: Worker, ledger: Ledger
) -> None:
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    assert await ledger.begin(JOB, max_attempts=3, terms=TERMS, cached=True) == KEPT
    assert fleet.archive().explain(JOB.id) is None
    assert await has_permit(worker, fleet)


@pytest.mark.parametrize("cached", [None, False])
async def test_the_cache_is_looked_at_only_where_that_is_asked_for(
    worker: Worker, ledger: Ledger, *, cached: bool | None
) -> None:
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    assert isinstance(await ledger.begin(JOB, max_attempts=3, cached=cached), Started)


@pytest.mark.parametrize("cached", [True, False])
async def test_where_nothing_is_found_the_job_is_begun_on_its_terms(
    fleet: Fleet, worker: Worker, ledger: Ledger, *, cached: bool
) -> None:
    begun = await ledger.begin(JOB, max_attempts=3, terms=TERMS, cached=cached)
    assert isinstance(begun, Started)
    assert (begun.attempt, begun.taken.charges) == (1, (ONE,))
    assert not await has_permit(worker, fleet)


@pytest.mark.parametrize("cached", [True, False])
async def test_what_was_decided_goes_before_what_is_kept_and_before_the_terms(
    worker: Worker, ledger: Ledger, *, cached: bool
) -> None:
    real = worker.ledger
    await worker.limits.take([ONE])  # so that the terms have no room

    async def found(key: str, **changes: object) -> object:
        job = replace(make_job(key, dedupe=Dedupe.CACHE, content_hash=key), **changes)  # type: ignore[arg-type]  # fields of a job
        await worker.cache.put(job.fingerprint, LATER_ANSWER)
        told = await ledger.begin(job, max_attempts=3, terms=TERMS, cached=cached)
        assert told == await real.find(job, cached=cached)
        return told

    ended = make_job("k1", dedupe=Dedupe.CACHE, content_hash="k1")
    await complete(real, ended)
    assert as_ended(await found("k1")).record.outcome == ANSWER  # type: ignore[arg-type]  # what a ledger tells
    assert await found("k1", content_hash="other") == Conflict()
    parked = make_job("k2", dedupe=Dedupe.CACHE, content_hash="k2")
    await real.begin(parked, max_attempts=3)
    await park(real, parked)
    assert isinstance(await found("k2"), Parked)
    again = replace(parked, generation=1, first=False)
    await real.begin(again, max_attempts=3)
    await park(real, again)
    assert await found("k2") == Stale()
    await real.cancel(asked(make_job("k3", dedupe=Dedupe.CACHE, content_hash="k3"), by_key=True))
    assert await found("k3") == CalledOff()


async def test_without_room_and_with_nothing_found_nothing_is_begun(
    fleet: Fleet, worker: Worker, ledger: Ledger
) -> None:
    await worker.limits.take([ONE])
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance(await ledger.begin(JOB, max_attempts=3, terms=TERMS, cached=True), Full)
    assert fleet.archive().explain(JOB.id) is None


async def test_a_damaged_entry_is_a_miss_is_told_and_the_job_begins(
    fleet: Fleet, worker: Worker, ledger: Ledger
) -> None:
    await worker.cache.put(JOB.fingerprint, LATER_ANSWER)
    await fleet.damage_responses()
    begun = await ledger.begin(JOB, max_attempts=3, terms=TERMS, cached=True)
    assert isinstance(begun, Started)
    assert begun.taken.charges == (ONE,)
    assert [type(event) for event in fleet.ear.heard] == [Trouble]
    assert await worker.cache.get(JOB.fingerprint) is None
