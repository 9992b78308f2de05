"""What was answered while the ledger could not be told, where an operator has chosen to call all the same.

Such an answer is carried out at once and recorded when the store is back. Until then it is in this process's
memory alone: when that dies, the job was answered and is not known.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from worker.core.events import CalledUnrecorded, JobEnded, JobParked, RecordedLate, Trouble
from worker.core.kinds import Kind
from worker.core.model import (
    Completed,
    DeadLetter,
    Decided,
    Ended,
    Failed,
    Follow,
    HistoryEntry,
    Job,
    Outcome,
    Parked,
    Record,
    Reply,
    Retry,
    Settlement,
    Snooze,
    Stale,
    State,
    Submission,
    Tally,
    Work,
    next_generation,
)
from worker.core.replies import reply
from worker.errors import StoreUnavailable
from worker.ports import Delivery, Ledger, Listener

Spawn = Callable[[Coroutine[Any, Any, None]], object]

# Jobs with their answers that wait for their records: what a process may hold of them.
_MOST_BYTES: Final = 64 * 1024 * 1024
# For so long a record waits for a claim of another process; few calls take longer.
_LONGEST_CLAIM: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """What becomes of a delivery whose ledger cannot be told now.

    `record` is what the caller hears; it counts what this process and the message know. `again`: it was
    carried out before, for another handing-over of the job. `begun`: the ledger knows of the call, whose claim
    and attempt only a record can settle.
    """

    outcome: Outcome
    settlement: Settlement
    work: Work
    record: Record
    now: datetime
    again: bool = False
    begun: bool = False

    @classmethod
    def of(
        cls,
        job: Job,
        outcome: Outcome,
        settlement: Settlement,
        *,
        work: Work,
        now: datetime,
        begun: bool = False,
    ) -> "Unrecorded":
        """Make it from what an attempt, or the want of one, has yielded."""
        tally = spent(job).plus(work)
        total = max(now - job.submitted_at, timedelta())
        record = Record(
            job_id=job.id,
            run=job.run,
            state=_state(settlement),
            outcome=outcome,
            tally=tally,
            waited=max(total - work.upstream, timedelta()),
            upstream=work.upstream,
            total=total,
        )
        return cls(
            outcome=outcome,
            settlement=settlement,
            work=work,
            record=record,
            now=now,
            begun=begun,
        )

    @property
    def held_bytes(self) -> int:
        """How large the answer is."""
        return len(self.outcome.body) if isinstance(self.outcome, Completed) else 0


def spent(job: Job) -> Tally:
    """Tell what a job has spent as far as its message says: each parked copy was an attempt, refused or not.

    So its calls are bounded without a ledger too.
    """
    return Tally(attempts=job.generation + 1, refusals=job.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Late:
    """What waits to be recorded, and what has to be recorded before it."""

    delivery: Delivery
    answer: Unrecorded
    after: asyncio.Event | None
    size: int
    written: asyncio.Event = field(default_factory=asyncio.Event)


class LateRecords:
    """Carries unrecorded answers out, and records them when the store is back.

    `ledger` waits for its store; `spawn` runs a coroutine that belongs to the worker, whose drain waits for it.
    Answers of one job are recorded in their order.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        spawn: Spawn,
        listener: Listener,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self.ledger = ledger
        self._spawn = spawn
        self._listener = listener
        self._room = most_bytes
        self._last: dict[str, asyncio.Event] = {}
        self._ended: dict[str, tuple[Job, Unrecorded]] = {}

    def called(self, job: Job) -> None:
        """Tell that a call begins without a ledger."""
        self._listener.tell(CalledUnrecorded(job=job))

    def answered(self, job: Job) -> Unrecorded | None:
        """Give the answer that this process gave the job already, and has not recorded yet."""
        known = self._ended.get(job.id)
        if known is None:
            return None
        first, answer = known
        same = (first.content_hash, first.run) == (job.content_hash, job.run)
        return replace(answer, again=True) if same else None

    def writing(self, job: Job) -> asyncio.Event | None:
        """Give what is set when all that waits for the job's record is written; None: nothing does."""
        return self._last.get(job.id)

    async def carry(self, delivery: Delivery, answer: Unrecorded) -> None:
        """Publish what follows, each confirmed, and keep what is to be recorded."""
        job = delivery.job
        match answer.settlement:
            case Retry() | Snooze() as settlement:
                until = answer.now + settlement.after
                copy = next_generation(job, not_before=until)
                await delivery.publish_parked(copy, settlement.after)
                parked = Parked(settlement=settlement, until=until, carried=True)
                self._listener.tell(JobParked(job=job, parked=parked, kind=_kind(answer)))
            case DeadLetter():
                if not answer.again:
                    await delivery.publish_dead(job, answer.record, [_line(job, answer)])
                await _reply(delivery, answer.record, job.submission)
            case Reply():
                await _reply(delivery, answer.record, job.submission)
        if not answer.again:
            self._keep(delivery, answer)

    def _keep(self, delivery: Delivery, answer: Unrecorded) -> None:
        job, size = delivery.job, len(delivery.job.body) + answer.held_bytes
        # Of calls that were begun there are no more than the lanes had slots, so they need not ask for room.
        if size > self._room and not answer.begun:
            self._listener.tell(RecordedLate(job=job, written=False))
            return
        self._room -= size
        late = _Late(delivery=delivery, answer=answer, after=self._last.get(job.id), size=size)
        self._last[job.id] = late.written
        if isinstance(answer.settlement, Reply | DeadLetter):
            self._ended[job.id] = (job, answer)
        self._spawn(self._record(late))

    async def _record(self, late: "_Late") -> None:
        job, done = late.delivery.job, False
        try:
            if late.after is not None:
                await late.after.wait()
            await self._write(late.delivery, late.answer)
            done = True
        except Exception as error:  # noqa: BLE001  # a task's border: one record's bug ends no other
            self._listener.tell(
                Trouble(
                    what="a late record could not be written",
                    about=job.id,
                    error=type(error).__name__,
                )
            )
        finally:
            self._room += late.size
            late.written.set()
            if self._last.get(job.id) is late.written:
                del self._last[job.id]
                self._ended.pop(job.id, None)
            self._listener.tell(RecordedLate(job=job, written=done))

    async def _write(self, delivery: Delivery, answer: Unrecorded) -> None:
        job = delivery.job
        decided = await self._settle_after_others(job, answer)
        match decided:
            case Ended(written=True, record=record, hear=hear, letter_due=letter):
                self._listener.tell(JobEnded(job=job, record=record))
                ended = isinstance(answer.settlement, Reply | DeadLetter)
                # Those who joined the job before the outage have heard nothing; nor has anybody of a job that was
                # parked, and cancelled meanwhile.
                others = [each for each in hear if not ended or each.id != job.submission.id]
                await asyncio.gather(*(_reply(delivery, record, each) for each in others))
                await self.ledger.carried(job, hear, letter=letter)
            case Parked(carried=False):
                await self.ledger.carried(job, (), letter=False)
            case _:
                pass  # somebody else carries the job, or has ended it: that stands

    async def _settle_after_others(self, job: Job, answer: Unrecorded) -> Decided | Follow:
        """Settle, once more where a claim of somebody else was in the way.

        It is of a call from before the outage, by a process that has died in it (which shows only a lease after the
        outage) or whose own late record parks the job: then nobody but us has the job's answer.
        """
        waited = False
        while True:
            decided = await self._settle(job, answer)
            if waited or not isinstance(decided, Stale):
                return decided
            with suppress(StoreUnavailable):
                await self.ledger.released(job.claim_key, at_most=_LONGEST_CLAIM)
                waited = True

    async def _settle(self, job: Job, answer: Unrecorded) -> Decided | Follow:
        # As if under a claim, also where there is none: a claim that was begun before the outage ends with it.
        match answer.settlement:
            case Retry() | Snooze() as settlement:
                why = answer.outcome if isinstance(answer.outcome, Failed) else None
                until = answer.now + settlement.after
                return await self.ledger.park(
                    job, settlement, until, work=answer.work, why=why, claimed=True
                )
            case Reply() | DeadLetter() as settlement:
                return await self.ledger.end(
                    job, answer.outcome, settlement, work=answer.work, claimed=True
                )


async def _reply(delivery: Delivery, record: Record, submission: Submission) -> None:
    if submission.reply_to is not None:
        told = reply(record, submission).model_copy(update={"recorded": False})
        await delivery.publish_reply(told, submission.reply_to)


def _state(settlement: Settlement) -> State:
    match settlement:
        case Reply(status=status):
            return State(status.value)
        case DeadLetter():
            return State.DEAD_LETTERED
        case Retry() | Snooze():
            return State.OPEN


def _kind(answer: Unrecorded) -> Kind | None:
    return answer.outcome.kind if isinstance(answer.outcome, Failed) else None


def _line(job: Job, answer: Unrecorded) -> HistoryEntry:
    failed = answer.outcome if isinstance(answer.outcome, Failed) else None
    return HistoryEntry(
        at=answer.now,
        run=job.run,
        generation=job.generation,
        attempt=answer.record.tally.attempts,
        what="unrecorded",
        kind=_kind(answer),
        status=None if failed is None else failed.status,
        endpoint=answer.outcome.endpoint,
        calls=answer.work.calls + answer.work.refusals,
        upstream_ms=int(answer.work.upstream / timedelta(milliseconds=1)),
    )
