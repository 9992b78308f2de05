"""Bugs in the order of the line: what is done too early, or by the wrong owner."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tests.faults.mutants.ledger import let_go
from tests.faults.mutants.plant import plant
from worker import crew, pipeline
from worker.broker.delivery import BrokerDelivery
from worker.calling import Claims
from worker.core.bill import NO_BILL, Bill
from worker.core.events import Step
from worker.core.model import (
    Completed,
    Decided,
    Ended,
    Follow,
    Job,
    Outcome,
    Park,
    Parked,
    Record,
    State,
    Tally,
    Terminal,
    Work,
)
from worker.core.replies import reply
from worker.core.seats import Seat
from worker.ports import Delivery
from worker.spending import Purse
from worker.unrecorded import Unrecorded

_NO_WORK: Final = Work()

_delivery: ContextVar[Delivery] = ContextVar("_delivery")


def acks_before_it_records() -> None:
    take = crew.Crew.take

    def take_and_ack(self: crew.Crew, delivery: Delivery) -> None:
        self.spawn(delivery.ack())
        take(self, delivery)

    plant(crew.Crew, "take", take_and_ack)


def replies_before_it_records() -> None:
    handle, end = pipeline.Line.handle, pipeline.Line._end

    async def handle_known(self: pipeline.Line, delivery: Delivery) -> None:
        _delivery.set(delivery)
        await handle(self, delivery)

    async def reply_and_end(
        self: pipeline.Line,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work = _NO_WORK,
        claimed: bool = False,
        bill: Bill = NO_BILL,
    ) -> Decided | Follow:
        if isinstance(outcome, Completed) and job.submission.reply_to is not None:
            early = Record(
                job_id=job.id,
                run=job.run,
                state=State.COMPLETED,
                outcome=outcome,
                tally=Tally(attempts=1, calls=1),
                waited=timedelta(),
                upstream=timedelta(),
                total=timedelta(),
            )
            await _delivery.get().publish_reply(
                reply(early, job.submission), job.submission.reply_to
            )
        return await end(self, job, outcome, settlement, work=work, claimed=claimed, bill=bill)

    plant(pipeline.Line, "handle", handle_known)
    plant(pipeline.Line, "_end", reply_and_end)


def marks_before_the_confirm() -> None:
    carry = pipeline.Line._carry

    async def mark_and_carry(self: pipeline.Line, delivery: Delivery, decided: Decided) -> None:
        job = delivery.job
        match decided:
            case Ended(hear=hear, letter_due=letter) if letter or hear:
                of_run = replace(job, run=decided.record.run)
                await self.ledger.carried(of_run, hear, letter=letter)
                self._step(Step.CARRIED, job)
            case Parked(carried=False):
                await self.ledger.carried(job, (), letter=False)
                self._step(Step.CARRIED, job)
            case _:
                pass
        await carry(self, delivery, decided)

    plant(pipeline.Line, "_carry", mark_and_carry)


def requeues_to_retry() -> None:
    """Nothing is parked: the claim is let go of and the delivery goes back to its queue at once."""
    carry = pipeline.Line._carry

    async def park(self: pipeline.Line, job: Job, settlement: Park, **_: object) -> Decided:
        await let_go(self, job)
        until = self.clock.now() + settlement.after
        return Parked(settlement=settlement, until=until, carried=False)

    async def requeue(self: pipeline.Line, delivery: Delivery, decided: Decided) -> None:
        if not isinstance(decided, Parked):
            await carry(self, delivery, decided)
            return
        assert isinstance(delivery, BrokerDelivery)
        delivery.place.left()
        await delivery.seat.channel.basic_nack(delivery.tag, requeue=True)

    plant(pipeline.Line, "_park", park)
    plant(pipeline.Line, "_carry", requeue)


def cancels_calls_with_their_channel() -> None:
    """As AMQP libraries do with their callbacks: a lost channel cancels the call, and the claim is let go of."""
    call, handle = pipeline.Line._call, pipeline.Line.handle

    async def call_or_let_go(
        self: pipeline.Line, job: Job, tally: Tally, *, seat: Seat, purse: Purse, claims: Claims
    ) -> Decided | Unrecorded | Follow:
        try:
            return await call(self, job, tally, seat=seat, purse=purse, claims=claims)
        except asyncio.CancelledError:
            await let_go(self, job)
            raise

    async def handle_while_it_lasts(self: pipeline.Line, delivery: Delivery) -> None:
        work = asyncio.ensure_future(handle(self, delivery))
        gone = asyncio.ensure_future(delivery.gone())
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not work.done():
            work.cancel()
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()

    plant(pipeline.Line, "_call", call_or_let_go)
    plant(pipeline.Line, "handle", handle_while_it_lasts)
