"""The end of the line: what was decided of a delivery is recorded, and then carried out.

The order here is half of the promise. Outcome and settlement are recorded together before anything is published; what
is published is marked as carried only after the broker has confirmed it; and only then is the delivery acknowledged.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from worker.core.bill import NO_BILL, Bill
from worker.core.events import JobEnded, JobParked, Step, StepReached
from worker.core.model import (
    Conflict,
    Decided,
    Ended,
    Failed,
    Follow,
    Job,
    Joined,
    Outcome,
    Park,
    Parked,
    Record,
    Snooze,
    Stale,
    Submission,
    Terminal,
    Work,
    next_generation,
)
from worker.core.replies import refusal, reply
from worker.core.retry import settle_uncalled
from worker.ports import Clock, Delivery, Ledger, Listener
from worker.unrecorded import LateRecords, Unrecorded

NO_WORK: Final = Work()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Records what was decided, and carries it out; the line begins before it. See `pipeline.Line`.

    `steps` follows each job from step to step, as tests do; telemetry has no use for that, so mostly nobody is told.
    `late` is there where jobs are called for also while the store does not answer.
    """

    ledger: Ledger
    clock: Clock
    listener: Listener
    steps: Listener | None = None
    late: LateRecords | None = None

    @property
    def _lasting(self) -> Ledger:
        """The ledger that waits for its store also where there is another way."""
        return self.ledger if self.late is None else self.late.ledger

    async def _finish(self, job: Job, outcome: Outcome) -> Decided | Follow:
        """End the job with an outcome that needed no call of its own."""
        return await self._end(job, outcome, settle_uncalled(outcome))

    async def _end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work = NO_WORK,
        claimed: bool = False,
        bill: Bill = NO_BILL,
        ledger: Ledger | None = None,
    ) -> Decided | Follow:
        decided = await (ledger or self.ledger).end(
            job, outcome, settlement, work=work, claimed=claimed, bill=bill
        )
        self._step(Step.RECORDED, job)
        if isinstance(decided, Ended) and decided.written:
            self.listener.tell(JobEnded(job=job, record=decided.record))
        return decided

    async def _park_until(
        self, job: Job, until: datetime | None, *, begun: bool = False
    ) -> Decided:
        """Snooze the job until then, at the longest until its deadline; None: not at all.

        `begun`: under a claim, which must not outlive this. So it waits for its store whatever is chosen.
        """
        now = self.clock.now()
        wait = min(until or now, job.deadline) - now
        return await self._park(
            job,
            Snooze(after=max(wait, timedelta())),
            claimed=begun,
            ledger=self._lasting if begun else None,
        )

    async def _park(
        self,
        job: Job,
        settlement: Park,
        *,
        work: Work = NO_WORK,
        why: Failed | None = None,
        claimed: bool = False,
        bill: Bill = NO_BILL,
        ledger: Ledger | None = None,
    ) -> Decided:
        until = self.clock.now() + settlement.after
        decided = await (ledger or self.ledger).park(
            job, settlement, until, work=work, why=why, claimed=claimed, bill=bill
        )
        self._step(Step.RECORDED, job)
        if isinstance(decided, Ended) and decided.written:  # cancelled meanwhile
            self.listener.tell(JobEnded(job=job, record=decided.record))
        if isinstance(decided, Parked) and not decided.carried:
            kind = why.kind if why is not None else None
            self.listener.tell(JobParked(job=job, parked=decided, kind=kind))
        return decided

    async def _carry(self, delivery: Delivery, decided: Decided | Unrecorded) -> None:
        """Carry a settlement out: publish and be confirmed, mark it carried, and only then ack."""
        job = delivery.job
        match decided:
            case Ended(hear=hear, letter_due=letter):
                if letter:
                    # Before the replies: whoever hears of a dead letter must find it there to replay.
                    await delivery.publish_dead(job, decided.record, decided.history)
                await _reply(delivery, decided.record, hear)
                if letter or hear:
                    run = decided.record.run
                    # Of the record's run, which for a late submission is not its delivery's.
                    of_run = job if job.run == run else replace(job, run=run)
                    await self.ledger.carried(of_run, hear, letter=letter)
                    self._step(Step.CARRIED, job)
            case Parked(carried=False, until=until):
                copy = next_generation(job, not_before=until)
                await delivery.publish_parked(copy, max(until - self.clock.now(), timedelta()))
                await self.ledger.carried(job, (), letter=False)
                self._step(Step.CARRIED, job)
            case Conflict() if job.submission.reply_to is not None:
                await delivery.publish_reply(refusal(job), job.submission.reply_to)
            case Unrecorded():
                assert self.late is not None  # noqa: S101  # it alone makes them
                await self.late.carry(delivery, decided)
            case Conflict() | Parked() | Joined() | Stale():
                pass
        await delivery.ack()
        self._step(Step.ACKED, job)

    def _step(self, step: Step, job: Job) -> None:
        if self.steps is not None:
            self.steps.tell(StepReached(step=step, job_id=job.id))


async def _reply(delivery: Delivery, record: Record, hear: Sequence[Submission]) -> None:
    """Let all hear at once who want to; most runs have one submission."""
    told = [
        delivery.publish_reply(reply(record, each), each.reply_to)
        for each in hear
        if each.reply_to is not None
    ]
    if len(told) == 1:
        await told[0]
    elif told:
        await asyncio.gather(*told)
