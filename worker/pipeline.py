"""The straight line that every delivery takes: read top to bottom, this is what Warren does with a job.

    find (with the cache) -> join -> cancelled? -> flawed? -> cached? -> expired? -> open? -> permit -> seat -> begin (with its limits and money) -> call -> settle -> record -> carry -> ack

Most jobs are new and have to wait for nothing: these begin at once, and what there is to find is found with that.

Order is the whole content of this module; the steps are decided in `core` and done behind `ports`. The laws
that the order keeps:

* Counting comes after everything that can answer or postpone without a call, so a cut connection, a
  follower or a held endpoint burns no attempt.
* Outcome and settlement are recorded before anything is published; a settlement is marked as carried only
  after the broker has confirmed it, and acknowledged only after that. A crash in between repeats a publish;
  it loses no job and repeats no call whose outcome is recorded.
* The task that handles a delivery belongs to the worker's crew, not to the channel that brought it: a lost
  connection cancels no call. The redelivery joins the task that is still running.
* Cancelled means unsettled: the broker gets the delivery back.
* What the store fails to do before a call is looked at from the top once it answers; what a call has yielded waits
  until it is recorded, or (where that is chosen) is carried out at once and recorded late.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from worker.calling import NO_CLAIMS
from worker.core.admission import HOLD, Expired, Go, Hold, Postpone
from worker.core.events import Step
from worker.core.kinds import Kind
from worker.core.model import (
    CalledOff,
    Completed,
    Conflict,
    Decided,
    Failed,
    Follow,
    Joined,
    Snooze,
    Stale,
)
from worker.core.retry import FOLLOWER_SNOOZE, settle_uncalled, spread
from worker.core.seats import Seat
from worker.errors import StoreUnavailable
from worker.ports import Delivery
from worker.settling import NO_WORK
from worker.starting import Starting
from worker.unrecorded import LateRecords, Unrecorded, spent
from worker.waiting import Look, first_of

# What of a found decision says that this delivery has nothing to do with the job's call.
_NOT_OURS: Final = (Conflict, Joined, Stale)
# What ends a job without a call: nobody wants its answer any more, or there is one.
_ENDS: Final = (CalledOff, Completed)
_CANCELLED: Final = Failed(kind=Kind.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Starting):
    """Carries deliveries down to their settlements; one per worker process."""

    async def handle(self, delivery: Delivery) -> None:
        """Carry one delivery down to its one settlement; one that is gone stays unsettled."""
        self._step(Step.TAKEN, delivery.job)
        try:
            decided = await self._decide(delivery)
            if decided is not None:
                await self._carry(delivery, decided)
        finally:
            self._own.end(delivery.job)

    async def set_aside(self, delivery: Delivery) -> None:
        """End a job on which the line itself failed: dead letter, and the caller hears."""
        delivery.let_next()
        while True:
            with suppress(StoreUnavailable):
                decided = await self._finish(delivery.job, Failed(kind=Kind.INTERNAL_ERROR))
                if isinstance(decided, Follow):
                    # Another process calls for it, and will end it: this copy looks again later.
                    decided = await self._park(delivery.job, Snooze(after=FOLLOWER_SNOOZE))
                break
            await self.outage.turn()
        await self._carry(delivery, decided)

    async def until_down(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do other work with the ledger; what waits for the store when the worker goes down is left, unsettled."""
        doing = asyncio.ensure_future(work())
        quiet = asyncio.ensure_future(self._quiet.wait())
        try:
            await asyncio.wait({doing, quiet}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() or self.outage.answering:
                await doing
        finally:
            doing.cancel()
            quiet.cancel()

    def calls_on(self, key: str) -> bool:
        """Tell whether a lane's jobs are called for while the store does not answer: never uncounted where it counts."""
        return self.late is not None and not self.gates[key].rationed

    @property
    def calls(self) -> int:
        """How many jobs' calls are made here now."""
        return len(self._own)

    def call_off(self, job_ids: Collection[str]) -> None:
        """Close the calls of these jobs, as far as they are made here: they end as cancelled."""
        self._own.call_off(job_ids)

    async def _decide(self, delivery: Delivery) -> Decided | Unrecorded | None:
        """Find out what becomes of the delivery. None: it is gone, and its redelivery will ask again."""
        looked = followed = False
        while True:
            try:
                found: Decided | Unrecorded | Follow | Look | None = None
                if self.late is not None or not self.outage.answering:
                    found = await self._without_ledger(delivery)
                if found is None and not looked:
                    looked = True
                    found = await self._start_at_once(delivery)
                if found is None:
                    found = await self._look(delivery)
                if isinstance(found, Follow):
                    found = await self._follow(delivery, found, again=followed)
                    followed = True
            except StoreUnavailable:
                continue  # no call was made, or it was noted what has to be: look from the top once it answers
            if found is Look.GONE:
                return None
            if found is not Look.AGAIN:
                return found

    async def _look(self, delivery: Delivery) -> Decided | Unrecorded | Follow | Look:
        """Go down the line once."""
        job, flaw = delivery.job, self._flaw(delivery.job)
        known = await self.ledger.find(job, cached=flaw is None and self._may_be_cached(job))
        if isinstance(known, _NOT_OURS):
            return known
        if (running := self._own_call(job)) is not None:
            # What it has recorded already it carries out itself, and once.
            return await self._join(running, delivery)
        if isinstance(known, _ENDS):
            return await self._finish(job, _CANCELLED if isinstance(known, CalledOff) else known)
        if known is not None:
            return known
        found = await self._refuse_or_postpone(delivery, flaw)
        if found is not None:
            return found
        return await self._start(delivery)

    async def _without_ledger(self, delivery: Delivery) -> Unrecorded | Look | None:
        """While the store does not answer: wait for it, or call all the same. None: it answers."""
        job = delivery.job
        if self.outage.answering:
            if self.late is None or (writing := self.late.writing(job)) is None:
                return None
            # What this process did without the ledger comes before what is done with it.
            return await self._wait(writing.wait(), delivery)
        if (running := self._own_call(job)) is not None:
            return await self._join(running, delivery)
        if self.late is not None and (answer := self.late.answered(job)) is not None:
            return answer
        calls_on = self.calls_on(job.queue_key) and not self.spending.holds(job)
        if self.late is None or self._flaw(job) or not calls_on:
            # A turn to try the store, before it is known to answer, is a turn to look at the line.
            found = await self._wait(self.outage.turn(), delivery)
            return None if found is Look.AGAIN else found
        return await self._call_without_ledger(self.late, delivery)

    async def _call_without_ledger(
        self, late: LateRecords, delivery: Delivery
    ) -> Unrecorded | Look:
        """Do what can be done with the message alone: expire, wait in place, or call."""
        job, now = delivery.job, self.clock.now()
        match self._admit(job, now):
            case Expired():
                expired = Failed(kind=Kind.EXPIRED)
                return Unrecorded.of(job, expired, settle_uncalled(expired), work=NO_WORK, now=now)
            case Hold(wait=wait):
                return await self._hold(delivery, wait)
            case Postpone(wait=wait, shared=shared):
                if shared:
                    self._pause(job, wait)
                return await self._hold(delivery, wait)
            case Go():
                pass
        async with self.slots[job.queue_key].calls:
            if self.outage.answering or self._has_changed(job):
                return Look.AGAIN
            seat = await self.upstream.seat(job)
            if isinstance(seat, Seat):
                try:
                    delivery.let_next()
                    late.called(job)
                    purse = self.spending.free()
                    called = await self._call(
                        job, spent(job), seat=seat, purse=purse, claims=NO_CLAIMS
                    )
                    return called if isinstance(called, Unrecorded) else Look.AGAIN
                finally:
                    self.upstream.leave(seat)
        return await self._hold(delivery, seat.wait)

    async def _join(self, running: asyncio.Task[Any], delivery: Delivery) -> Look:
        """Wait for the task of this process that holds the job's call already."""
        delivery.let_next()
        await first_of(running, delivery)
        return Look.AGAIN if running.done() else Look.GONE

    async def _refuse_or_postpone(
        self, delivery: Delivery, flaw: Failed | None
    ) -> Decided | Follow | Look | None:
        """Do what needs no call and so counts no attempt: refuse, expire, wait."""
        job = delivery.job
        if flaw is not None:
            return await self._finish(job, flaw)
        now = self.clock.now()
        verdict = self._admit(job, now)
        if isinstance(verdict, Go):
            return None
        match verdict:
            case Expired():
                return await self._finish(job, Failed(kind=Kind.EXPIRED))
            case Hold(wait=wait):
                return await self._hold_until_admitted(delivery, wait)
            case Postpone(wait=wait, shared=shared):
                return await self._postpone(job, wait, shared=shared)

    async def _follow(self, delivery: Delivery, follow: Follow, *, again: bool) -> Decided | Look:
        """Wait in place for another's call, once and if a place is free; else wait in a parking queue."""
        job, places = delivery.job, self.slots[delivery.job.queue_key].followers
        if follow.leader == job.id and self._own_call(job) is not None:
            return Look.AGAIN  # our own task holds it: the next look joins it
        if again or places.locked():
            return await self._park(job, Snooze(after=spread(FOLLOWER_SNOOZE, self.chance())))
        async with places:
            delivery.let_next()
            at_most = min(HOLD, max(job.deadline - self.clock.now(), timedelta()))
            waiting = asyncio.ensure_future(self.ledger.released(job.claim_key, at_most=at_most))
            try:
                await first_of(waiting, delivery)
                if not waiting.done():
                    return Look.GONE
                waiting.result()
                return Look.AGAIN
            finally:
                waiting.cancel()
