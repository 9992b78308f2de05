"""`Ledger.end` and `Ledger.park` with a bill: what an attempt has used and spent is settled with its record, and once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from producer_sdk.wire import Source
from tests.contract.test_limits import charge, refused, taken, tokens
from tests.contract.test_spend import cap, reserve, sums
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    INVALID,
    LATER_ANSWER,
    ONE_CALL,
    SMALL_ENTRY,
    SOON,
    TIMEOUT,
    Fleet,
    Worker,
    as_ended,
    complete,
    make_job,
)
from worker.core.bill import Bill
from worker.core.limits import Used
from worker.core.model import (
    Completed,
    DeadLetter,
    Decided,
    Follow,
    Job,
    Outcome,
    Parked,
    Retry,
    Stale,
)
from worker.core.spend import Reserved

NOTHING, TENTH = Decimal(0), Decimal("0.1")
JOB = make_job()
# The answer used 400 of 900 tokens, and cost a tenth of what was reserved.
SPENT = {"day:2026-11-03::acme": (TENTH, NOTHING)}


async def bill(worker: Worker, *, fingerprint: str | None = JOB.fingerprint) -> Bill:
    """Take permits and money for a call, and give what is to be settled after it."""
    used = Used(await taken(worker, charge(), tokens(900)), (1, 400))
    reserved = await reserve(worker, "1", cap("1"))
    assert isinstance(reserved, Reserved)
    return Bill(used=(used,), spent=((reserved, TENTH),), fingerprint=fingerprint)


async def end(
    worker: Worker, to_settle: Bill, *, job: Job = JOB, outcome: Outcome = ANSWER
) -> Decided | Follow:
    settlement = DONE if isinstance(outcome, Completed) else DeadLetter(reason=outcome.kind)
    return await worker.ledger.end(
        job, outcome, settlement, work=ONE_CALL, claimed=True, bill=to_settle
    )


async def settled_once(fleet: Fleet, worker: Worker) -> None:
    """Make sure that 400 tokens count, and a tenth of a dollar."""
    assert sums(fleet.spend_book().standing()) == SPENT
    fleet.clock.pass_by(timedelta(seconds=2))
    await refused(worker, tokens(601))
    await taken(worker, tokens(600))


async def test_the_end_of_a_run_settles_its_bill(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    assert as_ended(await end(worker, await bill(worker))).written
    assert await worker.cache.get(JOB.fingerprint) == replace(ANSWER, source=Source.CACHE)
    await settled_once(fleet, worker)


async def test_a_dead_letter_has_a_bill_too_but_no_response(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    assert as_ended(await end(worker, await bill(worker), outcome=INVALID)).letter_due
    assert await worker.cache.get(JOB.fingerprint) is None
    await settled_once(fleet, worker)


async def test_an_attempt_that_is_parked_settles_its_bill(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    parked = await worker.ledger.park(
        JOB,
        Retry(after=SOON),
        BEGAN + SOON,
        work=ONE_CALL,
        why=TIMEOUT,
        claimed=True,
        bill=await bill(worker),
    )
    assert isinstance(parked, Parked)
    await settled_once(fleet, worker)


async def test_a_response_is_kept_only_where_that_is_asked_for(worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    await end(worker, await bill(worker, fingerprint=None))
    assert await worker.cache.get(JOB.fingerprint) is None


async def test_a_response_that_is_too_large_for_the_cache_is_recorded_all_the_same(
    fleet: Fleet,
) -> None:
    small = await fleet.join(small=True)
    await small.ledger.begin(JOB, max_attempts=3)
    large = replace(ANSWER, body=b"x" * (SMALL_ENTRY + 1))
    assert as_ended(await end(small, await bill(small), outcome=large)).written
    assert await small.cache.get(JOB.fingerprint) is None
    await settled_once(fleet, small)


async def test_what_is_asked_for_again_counts_once(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    first = await bill(worker)
    await end(worker, first)
    assert not as_ended(await end(worker, first.again())).written
    assert await worker.cache.get(JOB.fingerprint) is not None
    await settled_once(fleet, worker)


async def test_an_end_that_finds_anothers_record_settles_its_bill(
    fleet: Fleet, worker: Worker
) -> None:
    await complete(worker.ledger, JOB, LATER_ANSWER)
    found = as_ended(await end(worker, await bill(worker)))
    assert not found.written
    assert isinstance(found.record.outcome, Completed)
    assert found.record.outcome.body == LATER_ANSWER.body
    await settled_once(fleet, worker)


@pytest.mark.parametrize("parks", [False, True], ids=["end", "park"])
async def test_who_has_lost_the_job_to_another_settles_its_bill(
    fleet: Fleet, worker: Worker, *, parks: bool
) -> None:
    other = await fleet.join()
    await other.ledger.begin(JOB, max_attempts=3)
    mine = await bill(worker)
    told: Decided | Follow
    if parks:
        told = await worker.ledger.park(
            JOB,
            Retry(after=SOON),
            BEGAN + SOON,
            work=ONE_CALL,
            why=TIMEOUT,
            claimed=True,
            bill=mine,
        )
    else:
        told = await end(worker, mine)
    assert isinstance(told, Stale)
    await settled_once(fleet, worker)


async def test_money_that_was_settled_meanwhile_counts_once(fleet: Fleet, worker: Worker) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    mine = await bill(worker)
    ((reserved, usd),) = mine.spent
    await worker.spend.settle(reserved, usd)
    await end(worker, mine)
    await settled_once(fleet, worker)


async def test_further_calls_of_an_attempt_give_back_what_was_reserved_for_them(
    fleet: Fleet, worker: Worker
) -> None:
    await worker.ledger.begin(JOB, max_attempts=3)
    held = [await reserve(worker, "0.5", cap("1")) for _ in range(2)]
    first, second = (each for each in held if isinstance(each, Reserved))
    await end(worker, Bill(spent=((first, TENTH), (second, NOTHING))))
    assert sums(fleet.spend_book().standing()) == SPENT
