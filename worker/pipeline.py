"""The straight line that every delivery takes: read top to bottom, this is what Warren does with a job.

    find (with the cache) -> join -> cancelled? -> flawed? -> cached? -> expired? -> open? -> permit -> seat -> begin (with its limits and money) -> call -> settle -> record -> carry -> ack

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
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from producer_sdk.wire import Dedupe
from worker.calling import NO_CLAIMS, Claims, attempt
from worker.core.admission import (
    HOLD,
    Expired,
    Go,
    Hold,
    Postpone,
)
from worker.core.bill import NO_BILL, Bill
from worker.core.budgets import NoMoney, Refuse, Wait
from worker.core.events import Step, Trouble
from worker.core.kinds import Kind
from worker.core.limits import Full
from worker.core.model import (
    Answered,
    Attempted,
    CalledOff,
    Completed,
    Conflict,
    Decided,
    Early,
    Exhausted,
    Failed,
    Follow,
    Job,
    Joined,
    NotStarted,
    Retry,
    Settlement,
    Snooze,
    Stale,
    Started,
    Tally,
)
from worker.core.rations import NoPermit, Permit
from worker.core.retry import FOLLOWER_SNOOZE, RetryPolicy, settle, settle_uncalled, spread
from worker.core.seats import NoSeat, Seat
from worker.core.spend import OverBudget
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.owncalls import OwnCalls
from worker.ports import Delivery
from worker.settling import NO_WORK
from worker.slots import LaneSlots
from worker.spending import Purse, Spending, unbudgeted
from worker.unrecorded import LateRecords, Unrecorded, spent
from worker.waiting import Look, Waiting, first_of

# What of a found decision says that this delivery has nothing to do with the job's call.
_NOT_OURS: Final = (Conflict, Joined, Stale)
# What ends a job without a call: nobody wants its answer any more, or there is one.
_ENDS: Final = (CalledOff, Completed)
# What there is instead of the right to begin.
_NO_RIGHT: Final = (NoPermit, NoSeat, Wait, Refuse)
# What settles a delivery by parking a copy.
_PARKS: Final = (Retry, Snooze)
_CANCELLED: Final = Failed(kind=Kind.CANCELLED)
# For how long a permit is good: a call that starts later reaches the upstream in another minute.
_PERMIT_S: Final = 1.0
_LEAST_WAIT: Final = timedelta(milliseconds=10)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A job that is begun, and lacks nothing but a seat: its own has grown too old."""

    tally: Tally
    purse: Purse


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Waiting):
    """Carries deliveries down to their settlements; one per worker process.

    `slots` are by `<tier>.<lane>`.
    """

    policy: RetryPolicy
    tries: int
    slots: Mapping[str, LaneSlots]
    outage: Outage
    spending: Spending = field(default_factory=unbudgeted)
    _own: OwnCalls = field(default_factory=OwnCalls)

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
        followed = False
        while True:
            try:
                found: Decided | Unrecorded | Follow | Look | None = None
                if self.late is not None or not self.outage.answering:
                    found = await self._without_ledger(delivery)
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

    async def _look(self, delivery: Delivery) -> "Decided | Unrecorded | Follow | Look":
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
        begun = await self._begin(delivery)
        return await self._wait_to_begin(delivery, begun) if isinstance(begun, _NO_RIGHT) else begun

    async def _without_ledger(self, delivery: Delivery) -> "Unrecorded | Look | None":
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
    ) -> "Unrecorded | Look":
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

    async def _join(self, running: "asyncio.Task[Any]", delivery: Delivery) -> "Look":
        """Wait for the task of this process that holds the job's call already."""
        delivery.let_next()
        await first_of(running, delivery)
        return Look.AGAIN if running.done() else Look.GONE

    def _own_call(self, job: Job) -> "asyncio.Task[Any] | None":
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

    def _may_be_cached(self, job: Job) -> bool:
        """Tell whether the job may be answered from the cache: not where nobody waits for it any more."""
        return job.dedupe is Dedupe.CACHE and self.clock.now() < job.deadline

    async def _refuse_or_postpone(
        self, delivery: Delivery, flaw: Failed | None
    ) -> "Decided | Follow | Look | None":
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

    def _flaw(self, job: Job) -> Failed | None:
        """Tell why the job can never be called for; None: it can."""
        if job.flaw is not None:
            return Failed(kind=Kind.INVALID_REQUEST, detail=job.flaw)
        return self.upstream.flaw(job)

    def _has_changed(self, job: Job) -> bool:
        """Tell whether a job that waited for a slot has to be looked at anew."""
        return (
            self._own_call(job) is not None
            or self.clock.now() >= job.deadline
            or self.gates[job.queue_key].closed() is not None
        )

    async def _wait_to_begin(
        self, delivery: Delivery, found: "NoPermit | NoSeat | NoMoney"
    ) -> "Decided | Unrecorded | Follow | Look":
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
    ) -> "Decided | Unrecorded | Follow | NoPermit | NoSeat | NoMoney | Look":
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
    ) -> "Decided | Unrecorded | Follow | NoSeat | Full | NoMoney | _Begun | Look":
        """Choose an endpoint, and begin there. A permit that is counted was given at the instant `since`."""
        job = delivery.job
        seat = self.upstream.propose(job) or await self.upstream.seat(job)
        if isinstance(seat, NoSeat):
            return seat
        try:
            purse = self.spending.purse(job)
            if not isinstance(purse, Purse):
                return purse
            if since is None:
                since = self.clock.monotonic()  # only what is taken with the seat grows old
            return await self._begin_with(permit, seat, purse, delivery, since=since)
        finally:
            self.upstream.leave(seat)

    async def _begin_anew(
        self, delivery: Delivery, begun: "_Begun"
    ) -> "Decided | Unrecorded | Follow":
        """Call at a second seat for a job that is begun: the first one's permits grew old while the ledger was asked.

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
        self, permit: Permit, seat: Seat, purse: Purse, delivery: Delivery, *, since: float
    ) -> "Decided | Unrecorded | Follow | Full | NoMoney | _Begun | Look":
        """Claim, count, call and record with all that a call needs, which is there since `since` or is counted with the claim."""
        job, gate, due = delivery.job, self.gates[delivery.job.queue_key], purse.due()
        terms = Terms(charges=seat.due, reservation=due) if seat.due or due is not None else None
        try:
            beginning = await self.ledger.begin(
                job, max_attempts=self.policy.max_attempts, terms=terms
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
        fresh = self.clock.monotonic() - since < _PERMIT_S
        if isinstance(beginning, Started) and permit.number is None and not fresh:
            # This process may have been suspended, and the job be another's by now.
            with suppress(StoreUnavailable):
                fresh = await self.ledger.holds(job)
            if fresh and seat.counted:
                return _Begun(beginning.tally, purse)
        if isinstance(beginning, Started) and fresh and gate.closed() is None:
            delivery.let_next()
            return await self._call(
                job, beginning.tally, seat=seat, purse=purse, claims=self.ledger
            )
        self.spending.give_back(purse)
        found: Decided | Follow | Look
        if isinstance(beginning, Started):
            # While the ledger was asked, the lane has closed, the permit has grown old or the claim was lost:
            # nothing was called, so nothing counts.
            opens_at = self._opens_at(job, self.clock.now())
            found = await self._park_until(job, opens_at, begun=True)
        else:
            found = await self._instead(job, beginning)
        await gate.give_back(permit)  # once: where the store has failed before, `_begin` does
        return found

    async def _instead(
        self, job: Job, beginning: Started | NotStarted
    ) -> "Decided | Follow | Look":
        """Do what the ledger says instead of a start."""
        match beginning:
            case Answered(outcome=outcome):
                return await self._finish(job, outcome)
            case Early(until=until):
                return await self._park_until(job, until)
            case Exhausted():
                return await self._finish(job, Failed(kind=Kind.ATTEMPTS_EXHAUSTED))
            case CalledOff() | Started():
                return Look.AGAIN
            case decided:
                return decided

    async def _call(
        self, job: Job, tally: Tally, *, seat: Seat, purse: Purse, claims: Claims
    ) -> Decided | Unrecorded | Follow:
        """Make the attempt that was counted, settle it, and record both together."""
        own, slots = self._own.begin(job), self.slots[job.queue_key]
        self._step(Step.BEGUN, job)
        self._step(Step.CALLING, job)
        slots.calling.add(job.id)
        try:
            attempted = await attempt(
                job,
                upstream=self.upstream,
                claims=claims,
                gate=self.gates[job.queue_key],
                clock=self.clock,
                tries=self.tries,
                limit=slots.attempt_timeout,
                called_off=own.called_off,
                money=purse.more,
                seat=seat,
            )
            slots.calling.discard(job.id)  # before what waits for the store
            self._step(Step.ANSWERED, job)
            return await self._record(job, tally, attempted, purse=purse, claims=claims)
        except Exception:
            # A bug of ours ends the job; its claim must not outlive it, or a replay would follow a ghost.
            bug = Failed(kind=Kind.INTERNAL_ERROR)
            if claims is not NO_CLAIMS:
                settlement = settle_uncalled(bug)
                await self._end(job, bug, settlement, claimed=True, ledger=self._lasting)
            raise
        finally:
            slots.calling.discard(job.id)

    async def _record(
        self, job: Job, tally: Tally, attempted: Attempted, *, purse: Purse, claims: Claims
    ) -> Decided | Unrecorded | Follow:
        """Settle what an attempt has yielded, and record both together, and its bill with them."""
        outcome, work = attempted.outcome, attempted.work
        settlement = settle(
            outcome,
            tally.plus(work),
            policy=self.policy,
            now=self.clock.now(),
            deadline=job.deadline,
            chance=self.chance(),
        )
        cached = isinstance(outcome, Completed) and not outcome.fallback
        bill = Bill(
            used=attempted.used,
            spent=purse.spent(work),
            fingerprint=job.fingerprint if cached and job.dedupe is Dedupe.CACHE else None,
        )
        begun = claims is not NO_CLAIMS
        return await self._record_with(bill, job, attempted, settlement, begun=begun)

    async def _record_with(
        self, bill: Bill, job: Job, attempted: Attempted, settlement: Settlement, *, begun: bool
    ) -> Decided | Unrecorded | Follow:
        """Record an attempt with its bill; where a bug of ours breaks that, without it: the answer is paid for."""
        outcome, work = attempted.outcome, attempted.work
        try:
            if isinstance(settlement, _PARKS):
                why = outcome if isinstance(outcome, Failed) else None
                return await self._park(
                    job, settlement, work=work, why=why, claimed=True, bill=bill
                )
            return await self._end(job, outcome, settlement, work=work, claimed=True, bill=bill)
        except (Exception, asyncio.CancelledError) as error:
            # Perhaps it is recorded all the same, and the money settled with it: then that counts once.
            self.spending.settle(bill.spent)
            if isinstance(error, StoreUnavailable):
                # The ledger raises it here only where there is another way.
                now = self.clock.now()
                return Unrecorded.of(job, outcome, settlement, work=work, now=now, begun=begun)
            if isinstance(error, asyncio.CancelledError) or bill == NO_BILL:
                raise
            what = "a job could not be recorded with its bill; it is recorded without"
            self.listener.tell(Trouble(what=what, about=job.id, error=type(error).__name__))
        return await self._record_with(NO_BILL, job, attempted, settlement, begun=begun)

    async def _follow(self, delivery: Delivery, follow: Follow, *, again: bool) -> "Decided | Look":
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
