"""The middle of the line: the call that was begun, and the record of what it has yielded.

Outcome, settlement and bill are recorded together, and under the claim that the call was made with.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from producer_sdk.wire import Dedupe
from worker.calling import NO_CLAIMS, Claims, attempt
from worker.core.bill import NO_BILL, Bill
from worker.core.events import Step, Trouble
from worker.core.kinds import Kind
from worker.core.model import (
    Attempted,
    Completed,
    Decided,
    Failed,
    Follow,
    Job,
    Retry,
    Settlement,
    Snooze,
    Tally,
)
from worker.core.retry import RetryPolicy, settle, settle_uncalled
from worker.core.seats import Seat
from worker.errors import StoreUnavailable
from worker.owncalls import OwnCalls
from worker.ports import LaneGate, Upstream
from worker.settling import Settling
from worker.slots import LaneSlots
from worker.spending import Purse, Spending, unbudgeted
from worker.unrecorded import Unrecorded

# What settles a delivery by parking a copy.
_PARKS: Final = (Retry, Snooze)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording(Settling):
    """Makes calls and records them; the line is made of it. See `pipeline.Line`.

    `gates` and `slots` are by `<tier>.<lane>`. `chance` gives numbers in [0, 1).
    """

    upstream: Upstream
    gates: Mapping[str, LaneGate]
    slots: Mapping[str, LaneSlots]
    policy: RetryPolicy
    tries: int
    chance: Callable[[], float]
    spending: Spending = field(default_factory=unbudgeted)
    _own: OwnCalls = field(default_factory=OwnCalls)

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
