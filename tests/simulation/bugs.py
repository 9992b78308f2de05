"""Bugs as somebody might well have written them, each in place of one function of Warren's."""

import asyncio
from datetime import timedelta
from typing import Final

from worker.broker.delivery import BrokerDelivery
from worker.calling import Claims
from worker.core.bill import NO_BILL, Bill
from worker.core.model import (
    Attempted,
    Beginning,
    Decided,
    Follow,
    Found,
    Job,
    Outcome,
    Parked,
    Record,
    Reply,
    State,
    Tally,
    Terminal,
    Work,
)
from worker.core.replies import reply
from worker.pipeline import Line
from worker.ports import Delivery
from worker.spending import Purse
from worker.store.embedded import beginning, claims, standing
from worker.store.embedded.ledger import EmbeddedLedger
from worker.store.embedded.rows import Claim, JobRow
from worker.store.embedded.spend import Pots
from worker.store.embedded.transaction import Transaction
from worker.unrecorded import Unrecorded

# Ack before record.

_handle: Final = Line.handle


async def ack_first(self: Line, delivery: Delivery) -> None:
    await delivery.ack()
    await _handle(self, delivery)


# Reply before record.

_end: Final = Line._end
_delivered: Final[dict[int, Delivery]] = {}


async def remember(self: Line, delivery: Delivery) -> None:
    task = asyncio.current_task()
    _delivered[id(task)] = delivery
    try:
        await _handle(self, delivery)
    finally:
        _delivered.pop(id(task), None)


async def reply_first(
    self: Line,
    job: Job,
    outcome: Outcome,
    settlement: Terminal,
    *,
    work: Work = Work(),  # noqa: B008  # a frozen value
    claimed: bool = False,
    bill: Bill = NO_BILL,
) -> Decided | Follow:
    delivery = _delivered.get(id(asyncio.current_task()))
    route = job.submission.reply_to
    if delivery is not None and route is not None and isinstance(settlement, Reply) and claimed:
        known = await self.ledger.find(job)
        if known is None:
            record = _record(job, outcome, settlement)
            await delivery.publish_reply(reply(record, job.submission), route)
    return await _end(self, job, outcome, settlement, work=work, claimed=claimed, bill=bill)


def _record(job: Job, outcome: Outcome, settlement: Reply) -> Record:
    return Record(
        job_id=job.id,
        run=job.run,
        state=State(settlement.status.value),
        outcome=outcome,
        tally=Tally(),
        waited=timedelta(),
        upstream=timedelta(),
        total=timedelta(),
    )


# No fencing of claims.

_of_job: Final = claims.of_job


def mine(transaction: Transaction, job_id: str) -> Claim | None:
    found = _of_job(transaction, job_id)
    return None if found is None else found._replace(owner=transaction.me)


# Requeue to retry, instead of parking.

_carry_out: Final = Line._carry


async def requeue(self: Line, delivery: Delivery, decided: Decided) -> None:
    if isinstance(decided, Parked) and isinstance(delivery, BrokerDelivery):
        await asyncio.sleep(0.5)
        if not delivery.seat.channel.ended:
            await delivery.seat.channel.basic_nack(delivery.tag, requeue=True)
        return
    await _carry_out(self, delivery, decided)


# Count the attempt before it is known whether there is anything to do.

_begin: Final = beginning.begin


def _count(transaction: Transaction, job: Job) -> None:
    transaction.connection.execute(
        "UPDATE jobs SET attempts = attempts + 1 WHERE id = ?", (job.id,)
    )


_find: Final = EmbeddedLedger.find


async def count_at_find(self: EmbeddedLedger, job: Job, *, cached: bool = False) -> Found | None:
    await self._run(lambda transaction: _count(transaction, job))
    return await _find(self, job, cached=cached)


# Mark a settlement as carried before it is confirmed.


async def mark_first(self: Line, delivery: Delivery, decided: Decided) -> None:
    if isinstance(decided, Parked) and not decided.carried:
        await self.ledger.carried(delivery.job, (), letter=False)
    await _carry_out(self, delivery, decided)


# Believe that a redelivery proves the death of who had the message before.

_in_the_way: Final = claims.in_the_way


def believe(transaction: Transaction, job: Job) -> Claim | None:
    found = _of_job(transaction, job.id)
    if found is not None and found.owner != transaction.me:
        claims.take_over(transaction, found)
    return _in_the_way(transaction, job)


# Let a replay reopen whatever it names.

_standing: Final = standing.standing


def reopen_all(transaction: Transaction, row: JobRow | None, job: Job) -> Decided | None:
    if row is not None and row.state is State.COMPLETED and job.run > row.run:
        return None
    return _standing(transaction, row, job)


# Let a follower count an attempt.


def follower_counts(transaction: Transaction, job: Job, max_attempts: int) -> Beginning:
    begun = _begin(transaction, job, max_attempts)
    if isinstance(begun, Follow):
        _count(transaction, job)
    return begun


# Key cache and claims without the tenant.


def shared_by_all(self: Job) -> str:
    return f"{self.tier}:{self.content_hash}"


# Park without waiting for the confirm.

_publish_parked: Final = BrokerDelivery.publish_parked


async def fire_and_forget(self: BrokerDelivery, job: Job, after: timedelta) -> None:
    publishing = asyncio.ensure_future(_publish_parked(self, job, after))
    publishing.add_done_callback(_forget)


def _forget(publishing: "asyncio.Future[None]") -> None:
    if not publishing.cancelled():
        publishing.exception()


# A record without its bill.

_record_attempt: Final = Line._record


async def pay_afterwards(
    self: Line, job: Job, tally: Tally, attempted: Attempted, *, purse: Purse, claims: Claims
) -> Decided | Unrecorded | Follow:
    held, purse.held = purse.held, []
    decided = await _record_attempt(self, job, tally, attempted, purse=purse, claims=claims)
    purse.held = held
    self.spending.settle(purse.spent(attempted.work))
    return decided


# Money that counts as often as it is settled.


def release_again(self: Pots, name: str) -> tuple[int, str] | None:
    found = self._connection.execute(
        "SELECT amount, pots FROM reservations WHERE name = ?", (name,)
    ).fetchone()
    return None if found is None else (int(found[0]), found[1])
