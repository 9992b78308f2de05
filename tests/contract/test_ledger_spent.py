"""The port `Ledger`: what a run has spent over all its calls, to the last digit."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.contract.world import (
    BEGAN,
    INVALID,
    SOON,
    TIMEOUT,
    Fleet,
    as_ended,
    asked,
    dead_letter,
    make_job,
)
from worker.core.kinds import Kind
from worker.core.model import (
    DeadLetter,
    Failed,
    Job,
    Park,
    Parked,
    Retry,
    Settled,
    Snooze,
    Started,
    Tally,
    Work,
    next_generation,
)
from worker.ports import Ledger

# Together they have more digits than a double, and than 64 bits of any unit that both have.
FEW, MANY = Decimal("0.000000000000000007"), Decimal("123456789012.000000000000000001")


async def fail(
    ledger: Ledger, job: Job, work: Work, settlement: Park | None = None
) -> tuple[Tally, Job]:
    """Make an attempt that came to nothing; give what `begin` said was spent before, and the parked copy."""
    begun = await ledger.begin(job, max_attempts=9)
    assert isinstance(begun, Started), begun
    parked = await ledger.park(
        job, settlement or Retry(after=SOON), BEGAN, work=work, why=TIMEOUT, claimed=True
    )
    assert isinstance(parked, Parked)
    return begun.tally, next_generation(job, not_before=BEGAN)


async def end(ledger: Ledger, job: Job, work: Work) -> Tally:
    await ledger.begin(job, max_attempts=9)
    ended = await ledger.end(job, INVALID, DeadLetter(reason=INVALID.kind), work=work, claimed=True)
    return as_ended(ended).record.tally


@pytest.mark.parametrize("park", [Retry(after=SOON), Snooze(after=SOON)], ids=["retry", "snooze"])
async def test_what_calls_cost_adds_up_over_all_attempts(
    fleet: Fleet, ledger: Ledger, park: Park
) -> None:
    before, job = await fail(ledger, make_job(), Work(calls=1, spent=MANY), park)
    assert (before.spent, before.unpriced) == (Decimal(0), 0)
    before, job = await fail(ledger, job, Work(calls=2, spent=FEW, unpriced=1), park)
    assert (before.spent, before.unpriced) == (MANY, 0)
    tally = await end(ledger, job, Work(calls=1, spent=FEW, unpriced=2))
    assert (tally.spent, tally.unpriced) == (Decimal("123456789012.000000000000000015"), 3)
    found = await ledger.find(job)
    assert as_ended(found).record.tally == tally
    explained = fleet.archive().explain(job.id)
    assert explained is not None
    assert explained.tally == tally


async def test_a_replay_begins_with_nothing_spent(ledger: Ledger) -> None:
    job = make_job()
    await end(ledger, job, Work(calls=1, spent=MANY, unpriced=1))
    replay = replace(job, run=2, first=False)
    begun = await ledger.begin(replay, max_attempts=5)
    assert isinstance(begun, Started)
    assert (begun.tally.spent, begun.tally.unpriced) == (Decimal(0), 0)


async def test_the_work_of_a_call_whose_copy_was_parked_by_another_is_counted(
    ledger: Ledger,
) -> None:
    job = make_job()
    await ledger.begin(job, max_attempts=5)
    await ledger.park(job, Snooze(after=SOON), BEGAN, work=Work(), why=None, claimed=False)
    await ledger.park(
        job,
        Retry(after=SOON),
        BEGAN,
        work=Work(calls=1, spent=FEW, unpriced=1),
        why=TIMEOUT,
        claimed=True,
    )
    copy = next_generation(job, not_before=BEGAN)
    tally = await end(ledger, copy, Work(calls=1, spent=FEW))
    assert (tally.spent, tally.unpriced) == (Decimal("0.000000000000000014"), 1)


async def test_a_job_that_is_cancelled_after_its_call_keeps_what_it_cost(ledger: Ledger) -> None:
    job = make_job()
    await fail(ledger, job, Work(calls=1, spent=FEW))
    answer = await ledger.cancel(asked(job))
    assert isinstance(answer, Settled)
    assert answer.ended.record.tally.spent == FEW


async def test_the_cost_of_a_failed_call_is_kept_with_its_outcome(ledger: Ledger) -> None:
    failed = Failed(kind=Kind.RESPONSE_TOO_LARGE, status=200, cost=FEW)
    job = make_job()
    await dead_letter(ledger, job, failed)
    found = as_ended(await ledger.find(job)).record.outcome
    assert found == failed
    assert found is not None
    assert found.cost == FEW
