"""The stores as the line wants them: a ledger that loses no answer, limits that nobody exceeds unseen.

Warren fails closed, unless it is told otherwise: no call is made without a ledger. What the store fails to do
begins an `Outage`, for which the consumers pause. The line waits with a delivery that has no call yet, and lets it
go when it is gone; an answer that is paid for waits here until it is recorded.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from worker.core.bill import NO_BILL, Bill
from worker.core.lanes import Orders
from worker.core.limits import Charge, Full, Taken
from worker.core.model import (
    AskAnswer,
    Asked,
    Beginning,
    Decided,
    Failed,
    Follow,
    Found,
    Job,
    Joined,
    Outcome,
    Park,
    Started,
    Submission,
    Terminal,
    Work,
)
from worker.core.rations import NoPermit, Permit
from worker.core.spend import Cap, OverBudget, Reserved
from worker.core.terms import Terms
from worker.counting import OneByOne
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.ownlimits import OwnLimits
from worker.ports import LaneOrders, Ledger, Limits, Rationing, Spend

T = TypeVar("T")
Doing: TypeAlias = Coroutine[Any, Any, T]


# What a begin says when it has surely written something.
_BEGINS: Final = (Started, Follow, Joined)
_ANYTHING: Final = (object,)


class _Patient:
    """Tells the outage how the store does; what must not be lost waits until it is over.

    A job asks about ten times: so what is asked here is no coroutine of its own where another one does all of it.
    """

    def __init__(self, outage: Outage) -> None:
        self.outage = outage

    async def _prompt(
        self, operation: Awaitable[T], *, writes: bool = True, wrote: tuple[type, ...] = _ANYTHING
    ) -> T:
        """Do it now or raise: who asks has nothing to lose, and may know better than to wait here.

        `writes`: it writes, where its value is of a type in `wrote`.
        """
        outage = self.outage
        outage.under_way += 1
        try:
            value = await operation
        except StoreUnavailable as error:
            outage.failed(error)
            raise
        finally:
            outage.under_way -= 1
        if not outage.answering and writes and isinstance(value, wrote):
            outage.worked()  # that a store can be read does not say that it can be written
        return value

    async def _until_done(self, operation: Callable[[], Awaitable[T]], *, writes: bool = True) -> T:
        """Repeat it until the store can do it; only cancelling ends the wait."""
        while True:
            try:
                return await self._prompt(operation(), writes=writes)
            except StoreUnavailable:
                await self.outage.turn(first=writes)


class PatientRationing(_Patient):
    """A `Rationing` that never guesses: a permit that cannot be counted is not given."""

    def __init__(self, rationing: Rationing, outage: Outage) -> None:
        super().__init__(outage)
        self.rationing = rationing

    def permit(self, lane: str, *, per_minute: int) -> Doing[Permit | NoPermit]:
        """Give a permit, or say how long to wait; see `Rationing.permit`.

        It is a small write, such as the probe: that it works does not say that a job's record can be written.
        """
        return self._prompt(self.rationing.permit(lane, per_minute=per_minute), writes=False)

    async def give_back(self, lane: str, permit: Permit) -> None:
        """Take back an unused permit; see `Rationing.give_back`. As small a write as `permit` is."""
        await self._until_done(lambda: self.rationing.give_back(lane, permit), writes=False)


class PatientLimits(_Patient):
    """`Limits` that nobody exceeds unseen: what cannot be counted is not taken.

    `own` is what a worker counts by that calls on without its store: its own calls alone, from nothing. What was
    taken of it is settled there.
    """

    def __init__(self, limits: Limits, outage: Outage, *, own: OwnLimits | None = None) -> None:
        super().__init__(outage)
        self.limits = limits
        self._own = own

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        """Count all charges, or none and say how long to wait; see `Limits.take`.

        It is a small write, such as the probe: that it works does not say that a job's record can be written.
        """
        if self._own is None:
            return await self._prompt(self.limits.take(charges), writes=False)
        if self.outage.answering:
            with suppress(StoreUnavailable):
                return await self._prompt(self.limits.take(charges), writes=False)
        return await self._own.take(charges)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used; see `Limits.settle`.

        What the store does not take note of is not kept for it: a minute later it would not count any more.
        """
        if self._own is not None and taken.own:
            await self._own.settle(taken, amounts)
        elif self.outage.answering:
            with suppress(StoreUnavailable):
                await self._prompt(self.limits.settle(taken, amounts), writes=False)


class PatientSpend(_Patient):
    """A `Spend` that never guesses: what cannot be reserved is not spent, what was spent is counted in the end."""

    def __init__(self, spend: Spend, outage: Outage) -> None:
        super().__init__(outage)
        self.spend = spend

    def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Doing[Reserved | OverBudget]:
        """Count the amount, or say what is over; see `Spend.reserve`. A small write, as a permit is."""
        return self._prompt(self.spend.reserve(reservation, caps, amount), writes=False)

    def settle(self, reserved: Reserved, amount: Decimal | None) -> Doing[None]:
        """Count what was spent; see `Spend.settle`.

        What was settled before is no write at all: that it works does not say that anything can be written.
        """
        return self._until_done(lambda: self.spend.settle(reserved, amount), writes=False)


class WatchedOrders(_Patient):
    """`LaneOrders` that tell the outage when they cannot be read: often the first to notice."""

    def __init__(self, lane_orders: LaneOrders, outage: Outage) -> None:
        super().__init__(outage)
        self.lane_orders = lane_orders

    async def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand; see `LaneOrders.orders`."""
        return await self._prompt(self.lane_orders.orders(), writes=False)


class PatientLedger(_Patient):
    """A `Ledger` that keeps what a call has yielded until its store takes it.

    What comes before a call raises `StoreUnavailable` at once. So does the end of a call where the worker has
    `another_way` to end it without the ledger. Where the ledger does not begin at once, it is asked twice, and terms are
    counted `one_by_one`.
    """

    def __init__(
        self,
        ledger: Ledger,
        outage: Outage,
        *,
        another_way: bool = False,
        one_by_one: OneByOne | None = None,
    ) -> None:
        super().__init__(outage)
        self.ledger = ledger
        self._another_way = another_way
        self._one_by_one = one_by_one

    def find(self, job: Job, *, cached: bool = False) -> Doing[Found | None]:
        """Tell what was decided, or what the cache keeps; see `Ledger.find`."""
        return self._prompt(self.ledger.find(job, cached=cached), writes=False)

    @property
    def begins_at_once(self) -> bool:
        """Tell whether `begin` finds and counts terms itself; see `Ledger.begins_at_once`."""
        return self._one_by_one is not None or self.ledger.begins_at_once

    def begin(
        self,
        job: Job,
        *,
        max_attempts: int,
        terms: Terms | None = None,
        cached: bool | None = None,
    ) -> Doing[Beginning]:
        """Claim and count, or say why not; see `Ledger.begin`."""
        ledger = self.ledger
        if self._one_by_one is None or ledger.begins_at_once:
            return self._prompt(
                ledger.begin(job, max_attempts=max_attempts, terms=terms, cached=cached),
                wrote=_BEGINS,
            )
        return self._prompt(
            self._begin_in_steps(
                self._one_by_one, job, max_attempts=max_attempts, terms=terms, cached=cached
            ),
            wrote=_BEGINS,
        )

    def end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Doing[Decided | Follow]:
        """Record the run's end; see `Ledger.end`."""
        return self._settle(
            lambda bill: self.ledger.end(
                job, outcome, settlement, work=work, claimed=claimed, bill=bill
            ),
            bill,
            claimed=claimed,
        )

    def park(
        self,
        job: Job,
        settlement: Park,
        until: datetime,
        *,
        work: Work,
        why: Failed | None,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Doing[Decided]:
        """Record that the generation waits; see `Ledger.park`."""
        return self._settle(
            lambda bill: self.ledger.park(
                job, settlement, until, work=work, why=why, claimed=claimed, bill=bill
            ),
            bill,
            claimed=claimed,
        )

    def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> Doing[None]:
        """Note that a settlement was carried out; see `Ledger.carried`."""
        return self._until_done(lambda: self.ledger.carried(job, heard, letter=letter))

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        """Wait for the claim; see `Ledger.released`."""
        try:  # not counted among what is under way: to wait is what it does
            await self.ledger.released(claim_key, at_most=at_most)
        except StoreUnavailable as error:
            self.outage.failed(error)
            raise

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of the followers; see `Ledger.wanted_until`."""
        return await self._until_done(lambda: self.ledger.wanted_until(claim_key), writes=False)

    async def holds(self, job: Job) -> bool:
        """Tell whether the claim is still ours; see `Ledger.holds`."""
        return await self._prompt(self.ledger.holds(job))

    async def result(self, asked: Asked) -> AskAnswer:
        """Tell how a job ended; see `Ledger.result`."""
        return await self._until_done(lambda: self.ledger.result(asked), writes=False)

    async def cancel(self, asked: Asked) -> AskAnswer:
        """Cancel a job; see `Ledger.cancel`."""
        return await self._until_done(lambda: self.ledger.cancel(asked))

    async def called_off(self) -> frozenset[str]:
        """Give the jobs whose calls are to be closed; see `Ledger.called_off`."""
        return await self._prompt(self.ledger.called_off(), writes=False)

    async def _begin_in_steps(
        self,
        one_by_one: OneByOne,
        job: Job,
        *,
        max_attempts: int,
        terms: Terms | None,
        cached: bool | None,
    ) -> Beginning:
        found = None if cached is None else await self.ledger.find(job, cached=cached)
        if found is not None:
            return found
        begin = partial(self.ledger.begin, job, max_attempts=max_attempts)
        return await (begin() if terms is None else one_by_one.begin(terms, begin))

    def _settle(
        self, operation: Callable[[Bill], Awaitable[T]], bill: Bill, *, claimed: bool
    ) -> Doing[T]:
        if claimed and not self._another_way:
            return self._recorded(operation, bill)
        return self._now_or_another_way(operation, bill, claimed=claimed)

    async def _recorded(self, operation: Callable[[Bill], Awaitable[T]], bill: Bill) -> T:
        """Repeat it until the store can do it, but for what of the bill would count twice."""
        try:
            return await self._prompt(operation(bill))
        except StoreUnavailable:
            await self.outage.turn(first=True)
            again = bill.again()
            return await self._until_done(lambda: operation(again))

    async def _now_or_another_way(
        self, operation: Callable[[Bill], Awaitable[T]], bill: Bill, *, claimed: bool
    ) -> T:
        if claimed and not self.outage.answering:
            raise StoreUnavailable(
                "the store does not answer; what a call has yielded goes another way"
            )
        return await self._prompt(operation(bill))
