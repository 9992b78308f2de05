"""Answers asks: looks a job up for its tenant, or cancels it and lets everybody hear."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from producer_sdk.wire import Verb
from worker.core.events import JobEnded, Trouble
from worker.core.kinds import Kind
from worker.core.model import CalledOff, NotEnded, Settled, State, UnknownJob
from worker.core.replies import answer, reply
from worker.ports import AskDelivery, Ledger, Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Handles asks one by one; each is answered, then acknowledged.

    A crash in between answers twice. A running call is closed by whoever makes it: its process finds the job
    among the ledger's `called_off`. `noted` is called when there may be one of this process.
    """

    ledger: Ledger
    listener: Listener
    noted: Callable[[], None]

    async def own(self, delivery: AskDelivery) -> None:
        """Handle an ask; a bug of ours ends it with an answer that says so."""
        try:
            await self.handle(delivery)
        except Exception as error:  # noqa: BLE001  # a task's border: a bug ends this ask, not the worker
            self.listener.tell(
                Trouble(
                    what="an ask failed inside Warren",
                    about=delivery.asked.job_id,
                    error=type(error).__name__,
                )
            )
            await self._refuse(delivery, Kind.INTERNAL_ERROR)
            await delivery.ack()

    async def handle(self, delivery: AskDelivery) -> None:
        """Answer one ask and acknowledge it."""
        cancel = delivery.verb is Verb.CANCEL
        ask = self.ledger.cancel if cancel else self.ledger.result
        match await ask(delivery.asked):
            case Settled() as settled:
                await self._settle(delivery, settled)
            case NotEnded(noted=False):
                await self._refuse(delivery, Kind.NOT_ENDED)
            case NotEnded():
                self.noted()  # the asker hears when the job ends
            case UnknownJob():
                await self._refuse(delivery, Kind.UNKNOWN_JOB)
            case CalledOff():
                await self._refuse(delivery, Kind.CANCELLED)
        await delivery.ack()

    async def _settle(self, delivery: AskDelivery, settled: Settled) -> None:
        """Let all who have to hear do so, and mark it, if it was this ask that ended the job."""
        job, ended = settled.job, settled.ended
        if ended.written:
            self.listener.tell(JobEnded(job=job, record=ended.record))
        await asyncio.gather(
            *(
                delivery.publish_reply(reply(ended.record, each), each.reply_to)
                for each in ended.hear
                if each.reply_to is not None
            )
        )
        if ended.record.state is State.CANCELLED:
            await self.ledger.carried(job, ended.hear, letter=False)

    @staticmethod
    async def _refuse(delivery: AskDelivery, kind: Kind) -> None:
        asked = delivery.asked
        if asked.submission.reply_to is not None:
            told = answer(asked.submission.id, asked.job_id, kind)
            await delivery.publish_reply(told, asked.submission.reply_to)
