"""What becomes of money while the store that counts it does not answer."""

import asyncio
from decimal import Decimal

import pytest

from tests.contract.world import Ear, HandClock
from tests.unit.worker.test_spending import Till
from worker.core.spend import Account, Cap, Per, Reserved
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.patience import PatientSpend

CAP = Cap(account=Account(), per=Per.DAY, usd=Decimal(1))
QUARTER = Decimal("0.25")


class House:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.till = Till(self.clock)
        self.outage = Outage(
            probe=self._probe, clock=self.clock, listener=Ear(), chance=lambda: 0.0, look_s=0.001
        )
        self.spend = PatientSpend(self.till, self.outage)

    async def _probe(self) -> bool:
        return not self.till.away


async def test_what_cannot_be_reserved_begins_the_outage() -> None:
    house = House()
    house.till.away = True
    with pytest.raises(StoreUnavailable):
        await house.spend.reserve("one", [CAP], QUARTER)
    assert not house.outage.answering


async def test_a_settling_alone_ends_no_outage() -> None:
    """One that was settled before writes nothing, so that a Redis which takes no writes does it too."""
    house = House()
    house.outage.failed(StoreUnavailable("takes no writes"))
    await house.spend.settle(Reserved(name="settled before", amount=QUARTER), Decimal(0))
    assert not house.outage.answering


async def test_what_was_spent_is_counted_when_the_store_is_back() -> None:
    house = House()
    reserved = await house.spend.reserve("one", [CAP], QUARTER)
    assert isinstance(reserved, Reserved)
    house.till.away = True
    lost = asyncio.Event()
    house.outage.follow(lost.set)
    looking = asyncio.create_task(house.outage.run())
    settling = asyncio.create_task(house.spend.settle(reserved, Decimal("0.1")))
    async with asyncio.timeout(10):
        await lost.wait()
        house.till.away = False
        await settling
    looking.cancel()
    assert (house.till.held, house.till.spent) == (Decimal(0), Decimal("0.1"))
