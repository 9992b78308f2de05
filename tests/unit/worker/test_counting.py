"""Terms that are counted one by one: what was counted goes back where a later one says no, is silent or is given up."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

import pytest

from tests.contract.world import HandClock
from tests.unit.worker.test_spending import Till
from worker.core.limits import Charge, Full, Meter, Taken
from worker.core.model import Beginning, Joined, Started, Tally
from worker.core.spend import Account, Cap, OverBudget, Per, Reserved
from worker.core.terms import Reservation, Terms
from worker.counting import OneByOne
from worker.errors import StoreUnavailable
from worker.ownlimits import OwnLimits

T = TypeVar("T")
REQUEST = Charge(meter=Meter(name="endpoint:alpha:requests", limit=1), amount=1)
CAP = Cap(account=Account(), per=Per.DAY, usd=Decimal(1))
MONEY = Reservation(name="one", caps=(CAP,), amount=Decimal("0.6"))
TERMS = Terms(charges=(REQUEST,), reservation=MONEY)
STARTED = Started(attempt=2, tally=Tally(attempts=2))


class Stalling:
    """Stops at a place until it is let go."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def passes(self, place: str) -> None:
        if self.at == place:
            self.reached.set()
            await self.go_on.wait()


class Limits(OwnLimits):
    def __init__(self, clock: HandClock, stalling: Stalling) -> None:
        super().__init__(clock)
        self.stalling = stalling
        self.away = False

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        await self.stalling.passes("limits")
        return await super().take(charges)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().settle(taken, amounts)


class Money(Till):
    def __init__(self, clock: HandClock, stalling: Stalling) -> None:
        super().__init__(clock)
        self.stalling = stalling

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        await self.stalling.passes("money")
        return await super().reserve(reservation, caps, amount)


class House:
    def __init__(self, *, at: str = "") -> None:
        clock, self.stalling = HandClock(), Stalling(at)
        self.limits, self.till = Limits(clock, self.stalling), Money(clock, self.stalling)
        self.one_by_one = OneByOne(limits=self.limits, spend=self.till)
        self.begun = 0
        self.says: Beginning | StoreUnavailable = STARTED

    async def _begin(self) -> Beginning:
        self.begun += 1
        await self.stalling.passes("begin")
        if isinstance(self.says, StoreUnavailable):
            raise self.says
        return self.says

    async def begin(self, terms: Terms = TERMS) -> Beginning:
        return await self.one_by_one.begin(terms, self._begin)

    async def has_permit(self) -> bool:
        await self.one_by_one.aclose()
        return isinstance(await self.limits.take([REQUEST]), Taken)


async def test_a_start_carries_what_was_taken() -> None:
    house = House()
    begun = await house.begin()
    assert isinstance(begun, Started)
    assert (begun.attempt, begun.tally) == (2, Tally(attempts=2))
    assert begun.taken.charges == (REQUEST,)
    assert house.till.held == Decimal("0.6")
    assert not await house.has_permit()


async def test_without_a_permit_neither_money_nor_the_ledger_is_asked() -> None:
    house = House()
    await house.limits.take([REQUEST])
    assert isinstance(await house.begin(), Full)
    assert (house.till.reserved, house.begun) == ({}, 0)


async def test_without_money_the_ledger_is_not_asked_and_the_permit_goes_back() -> None:
    house = House()
    house.till.spent = Decimal("0.5")
    assert isinstance(await house.begin(), OverBudget)
    assert house.begun == 0
    assert await house.has_permit()


async def test_without_a_start_both_go_back() -> None:
    house = House()
    house.says = Joined()
    assert await house.begin() == Joined()
    assert await house.has_permit()
    assert house.till.held == 0


async def test_where_the_ledger_is_silent_the_permit_goes_back_and_the_money_is_its_owners_to_settle() -> (
    None
):
    house = House()
    house.says = StoreUnavailable("silent")
    with pytest.raises(StoreUnavailable):
        await house.begin()
    assert await house.has_permit()
    assert house.till.held == Decimal("0.6")


@pytest.mark.parametrize("at", ["limits", "money", "begin"])
async def test_where_the_caller_is_cancelled_the_permit_goes_back(at: str) -> None:
    house = House(at=at)
    beginning = asyncio.create_task(house.begin())
    await house.stalling.reached.wait()
    beginning.cancel()
    await asyncio.wait({beginning})
    assert beginning.cancelled()
    house.stalling.at = ""
    assert await house.has_permit()
    assert house.till.held == (Decimal("0.6") if at == "begin" else 0)


async def test_what_cannot_go_back_stays_counted_and_nobody_fails_for_it() -> None:
    house = House()
    house.limits.away = True
    house.says = Joined()
    assert await house.begin() == Joined()
    assert not await house.has_permit()


async def test_what_is_not_limited_and_not_paid_for_asks_nobody() -> None:
    house = House(at="money")
    house.till.away = True
    assert await house.begin(Terms()) == STARTED
