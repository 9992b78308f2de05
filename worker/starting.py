"""How a job comes to its call: by a slot, a permit, a seat, money, and the claim, in this order.

Whoever waits for one of them has counted no attempt and keeps nothing of the others.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from producer_sdk.wire import Dedupe
from worker.core.admission import HOLD, Go
from worker.core.budgets import NoMoney, Refuse, Wait
from worker.core.kinds import Kind
from worker.core.limits import Full
from worker.core.model import (
    Answered,
    CalledOff,
    Completed,
    Decided,
    Early,
    Exhausted,
    Failed,
    Follow,
    Job,
    NotStarted,
    Snooze,
    Started,
    Tally,
)
from worker.core.rations import NoPermit, Permit
from worker.core.seats import NoSeat, Seat
from worker.core.spend import OverBudget
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.ports import Delivery
from worker.spending import Purse
from worker.unrecorded import Unrecorded
from worker.waiting import Look, Waiting

# What there is instead of the right to begin.
_NO_RIGHT: Final = (NoPermit, NoSeat, Wait, Refuse)
# Where nobody counts a lane's calls.
_UNCOUNTED: Final = Permit(number=None)
# For how long a permit is good: a call that starts later reaches the upstream in another minute.
_PERMIT_S: Final = 1.0
_LEAST_WAIT: Final = timedelta(milliseconds=10)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A job that is begun, and lacks nothing but a seat: its own has grown too old, or its endpoint takes no calls any more."""

    tally: Tally
    purse: Purse


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting(Waiting):
    """Begins jobs, and calls for them; the line is made of it. See `pipeline.Line`."""

    outage: Outage

    async def _start_at_once(
        self, delivery: Delivery
    ) -> Decided | Unrecorded | Follow | Look | None:
        """Begin a job of which nothing was found yet, and find with that; None: look at it first.

        Only where all that its call needs is at hand, else it would wait for what an answer that is there needs not.
        """
        job, slots = delivery.job, self.slots[delivery.job.queue_key].calls
        if not self._is_free(job) or not slots.take():
            return None
        try:
            seat = self.upstream.propose(job)
            if not isinstance(seat, Seat):
                return None
            cached = self._may_be_cached(job)
            begun = await self._begin_at(seat, _UNCOUNTED, delivery, since=None, cached=cached)
            if isinstance(begun, _Begun):
                return await self._begin_anew(delivery, begun)
            return None if isinstance(begun, (Full, *_NO_RIGHT)) else begun
        finally:
            slots.leave()

    async def _start(self, delivery: Delivery) -> Decided | Unrecorded | Follow | Look:
        """Begin a job, call for it, and record that, as soon as all is there that a call needs."""
        begun = await self._begin(delivery)
        return await self._wait_to_begin(delivery, begun) if isinstance(begun, _NO_RIGHT) else begun

    async def _wait_to_begin(
        self, delivery: Delivery, found: NoPermit | NoSeat | NoMoney
    ) -> Decided | Unrecorded | Follow | Look:
        """Wait for the right to call for the job, a moment in place and longer in a parking queue; then call."""
        job, left = delivery.job, HOLD
        while True:
            match found:
                case NoPermit(wait=wait):
                    return await self._hold(delivery, wait)
                case Wait() | Refuse() as no_money:
                    return await self._go_without_money(job, no_money)
                case NoSeat(wait=wait, shared=shared) if wait > HOLD:
                    wait = min(wait, job.deadline - self.clock.now())
                    return await self._postpone(job, wait, shared=shared)
                case NoSeat(wait=wait, shared=shared):
                    looked = await self._hold(delivery, wait)
                    left -= max(wait, _LEAST_WAIT)
                    if looked is Look.AGAIN and left <= _LEAST_WAIT and not shared:
                        return await self._make_room(job)
                    if looked is Look.GONE or left <= _LEAST_WAIT or not self._asks_again(job):
                        return looked
            begun = await self._begin(delivery)
            if not isinstance(begun, _NO_RIGHT):
                return begun
            found = begun

    async def _go_without_money(self, job: Job, no_money: NoMoney) -> Decided | Follow:
        match no_money:
            case Wait(wait=wait, why=why):
                return await self._park(job, Snooze(after=wait), why=why)
            case Refuse(failed=failed):
                return await self._finish(job, failed)

    def _asks_again(self, job: Job) -> bool:
        """Tell whether a job that got no seat may ask for one again without a look from the top.

        Many wait for one place, and would each ask the ledger at every look. Not where a permit is counted each time, nor
        where an answer may have come into the cache.
        """
        rationed = self.gates[job.queue_key].rationed
        return self.outage.answering and not rationed and job.dedupe is not Dedupe.CACHE

    async def _begin(
        self, delivery: Delivery
    ) -> Decided | Unrecorded | Follow | NoPermit | NoSeat | NoMoney | Look:
        """Claim, count, call and record, all under one of the lane's call slots, a permit, a seat and money for one call."""
        job, key = delivery.job, delivery.job.queue_key
        gate, slots = self.gates[key], self.slots[key].calls
        if not slots.take():
            await slots.turn()
        try:
            if self._has_changed(job):
                return Look.AGAIN
            permit = await gate.permit()
            if isinstance(permit, NoPermit):
                return permit
            since = None if permit.number is None else self.clock.monotonic()
            try:
                begun = await self._begin_at_a_seat(permit, delivery, since=since)
                while isinstance(begun, Full):  # not there any more: at another one, or at none
                    begun = await self._begin_at_a_seat(permit, delivery, since=since)
            except StoreUnavailable:  # so no call was made; the look from the top would wait too
                await self._wait(gate.give_back(permit), delivery)
                raise
            if isinstance(begun, _NO_RIGHT):
                await gate.give_back(permit)
                return begun
            return await self._begin_anew(delivery, begun) if isinstance(begun, _Begun) else begun
        finally:
            slots.leave()

    async def _begin_at_a_seat(
        self, permit: Permit, delivery: Delivery, *, since: float | None
    ) -> Decided | Unrecorded | Follow | NoSeat | Full | NoMoney | _Begun | Look:
        """Choose an endpoint, and begin there. A permit that is counted was given at the instant `since`."""
        job = delivery.job
        seat = self.upstream.propose(job) or await self.upstream.seat(job)
        if isinstance(seat, NoSeat):
            return seat
        return await self._begin_at(seat, permit, delivery, since=since)

    async def _begin_at(
        self,
        seat: Seat,
        permit: Permit,
        delivery: Delivery,
        *,
        since: float | None,
        cached: bool | None = None,
    ) -> Decided | Unrecorded | Follow | Full | NoMoney | _Begun | Look:
        """Begin at a seat, which is left then."""
        try:
            purse = self.spending.purse(delivery.job)
            if not isinstance(purse, Purse):
                return purse
            if since is None and seat.counted:
                since = self.clock.monotonic()
            return await self._begin_with(permit, seat, purse, delivery, since=since, cached=cached)
        finally:
            self.upstream.leave(seat)

    async def _begin_anew(
        self, delivery: Delivery, begun: "_Begun"
    ) -> Decided | Unrecorded | Follow:
        """Call at a second seat for a job that is begun: the first one is of no use any more since the ledger was asked.

        Else no job would be called for while the store is slow, and each be parked again and again.
        """
        job, seat = delivery.job, None
        with suppress(StoreUnavailable):
            seat = await self.upstream.seat(job)
        if isinstance(seat, Seat):
            try:
                if self.gates[job.queue_key].closed() is None:
                    delivery.let_next()
                    return await self._call(
                        job, begun.tally, seat=seat, purse=begun.purse, claims=self.ledger
                    )
            finally:
                self.upstream.leave(seat)
        self.spending.give_back(begun.purse)
        now = self.clock.now()
        until = now + seat.wait if isinstance(seat, NoSeat) else self._opens_at(job, now)
        return await self._park_until(job, until, begun=True)

    async def _begin_with(
        self,
        permit: Permit,
        seat: Seat,
        purse: Purse,
        delivery: Delivery,
        *,
        since: float | None,
        cached: bool | None,
    ) -> Decided | Unrecorded | Follow | Full | NoMoney | _Begun | Look:
        """Claim, count, call and record with all that a call needs.

        What was counted before is there since `since`; None: all of it is counted with the claim. Then a store with much to do
        makes nothing old: the claim counts from when the store wrote it.
        """
        job, gate, due = delivery.job, self.gates[delivery.job.queue_key], purse.due()
        terms = Terms(charges=seat.due, reservation=due) if seat.due or due is not None else None
        asked = self.clock.monotonic()
        try:
            beginning = await self.ledger.begin(
                job, max_attempts=self.policy.max_attempts, terms=terms, cached=cached
            )
        except (StoreUnavailable, asyncio.CancelledError):
            purse.hold(due)
            self.spending.give_back(purse)
            raise
        if isinstance(beginning, Full):
            self.upstream.refused(seat, beginning)
            return beginning
        if isinstance(beginning, OverBudget):
            return self.spending.no_money(job, beginning)
        if isinstance(beginning, Started):
            purse.hold(due)
            if seat.due:
                seat.taken = beginning.taken
            if since is None:
                since = asked if beginning.at is None else beginning.at
            return await self._call_begun(
                permit, seat, purse, delivery, tally=beginning.tally, since=since
            )
        self.spending.give_back(purse)
        found = await self._instead(job, beginning)
        await gate.give_back(permit)  # once: where the store has failed before, `_begin` does
        return found

    async def _call_begun(
        self,
        permit: Permit,
        seat: Seat,
        purse: Purse,
        delivery: Delivery,
        *,
        tally: Tally,
        since: float,
    ) -> Decided | Unrecorded | Follow | _Begun:
        """Call for a job that is begun; where its lane has closed meanwhile, or what it has is too old, it is parked uncounted."""
        job, gate = delivery.job, self.gates[delivery.job.queue_key]
        fresh = self.clock.monotonic() - since < _PERMIT_S
        if permit.number is None:
            another = not fresh and seat.counted
            if not fresh:
                # This process may have been suspended, and the job be another's by now.
                with suppress(StoreUnavailable):
                    fresh = await self.ledger.holds(job)
            if fresh and (another or not self.upstream.stands(seat)):
                return _Begun(tally, purse)
        if fresh and gate.closed() is None:
            delivery.let_next()
            return await self._call(job, tally, seat=seat, purse=purse, claims=self.ledger)
        self.spending.give_back(purse)
        parked = await self._park_until(job, self._opens_at(job, self.clock.now()), begun=True)
        await gate.give_back(permit)  # once, as above
        return parked

    async def _instead(self, job: Job, beginning: NotStarted) -> Decided | Follow | Look:
        """Do what the ledger says instead of a start."""
        match beginning:
            case Answered(outcome=outcome) | (Completed() as outcome):
                return await self._finish(job, outcome)
            case Early(until=until):
                return await self._park_until(job, until)
            case Exhausted():
                return await self._finish(job, Failed(kind=Kind.ATTEMPTS_EXHAUSTED))
            case CalledOff():
                return Look.AGAIN
            case decided:
                return decided

    def _may_be_cached(self, job: Job) -> bool:
        """Tell whether the job may be answered from the cache: not where nobody waits for it any more."""
        return job.dedupe is Dedupe.CACHE and self.clock.now() < job.deadline

    def _flaw(self, job: Job) -> Failed | None:
        """Tell why the job can never be called for; None: it can."""
        if job.flaw is not None:
            return Failed(kind=Kind.INVALID_REQUEST, detail=job.flaw)
        return self.upstream.flaw(job)

    def _is_free(self, job: Job) -> bool:
        """Tell whether a job may begin, as far as this process knows, and nothing that is counted elsewhere is asked first."""
        return (
            self.outage.answering
            and not self.gates[job.queue_key].rationed
            and self._own_call(job) is None
            and self._flaw(job) is None
            and isinstance(self._admit(job, self.clock.now()), Go)
        )

    def _own_call(self, job: Job) -> asyncio.Task[Any] | None:
        """Give the task that a delivery has to join.

        Not for another submission's message: that one only has its route noted, by `begin`, and must not hold
        its place for as long as the call takes. Where nothing can be noted it waits for the answer, or it would
        be called for a second time.
        """
        calling = self._own.get(job)
        if calling is None:
            return None
        noted = self.late is None or self.outage.answering
        another = job.first and job.submission.id != calling.job.submission.id
        return None if noted and another else calling.task

    def _has_changed(self, job: Job) -> bool:
        """Tell whether a job that waited for a slot has to be looked at anew."""
        return (
            self._own_call(job) is not None
            or self.clock.now() >= job.deadline
            or self.gates[job.queue_key].closed() is not None
        )
