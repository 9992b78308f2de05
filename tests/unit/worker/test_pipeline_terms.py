"""The line's begin with what is due for its call: the limits and the money are counted with the claim, or nothing is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from producer_sdk.wire import Status
from tests.contract.world import EmbeddedFleet, HandClock, make_job
from tests.unit.worker.stand import ONE_REQUEST, FakeDelivery, Spy, Stand
from worker.core.budgets import Budget
from worker.core.kinds import Kind
from worker.core.limits import NOTHING_TAKEN, Full, Taken
from worker.core.model import Beginning, Job, Started
from worker.core.seats import NoSeat, Obstacle, Seat
from worker.core.spend import Per
from worker.core.terms import Terms
from worker.counting import OneByOne
from worker.errors import StoreUnavailable
from worker.patience import PatientLedger
from worker.pipeline import Line
from worker.ports import Ledger
from worker.spending import Spending

MINUTE = NoSeat(wait=timedelta(minutes=1), obstacle=Obstacle.REQUESTS, kind=Kind.RATE_LIMITED)
# Of 600 a minute, with the pace: what has room beside one more.
ALL = replace(ONE_REQUEST, amount=600)


@dataclass(slots=True)
class Told(Spy):
    """A ledger that notes on which terms it begins, and what it says."""

    terms: list[Terms | None] = field(default_factory=list)
    said: list[Beginning] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
        del job, cached
        self.terms.append(terms)

    async def after_begin(self, begun: Beginning) -> None:
        self.said.append(begun)
        self.told.set()


class House:
    """A line whose jobs cost 0.4 at most and one request, under a budget of 1.00 a day and a limit of 600 a minute."""

    def __init__(self, stand: Stand, fleet: EmbeddedFleet) -> None:
        self.stand = stand
        self.fleet = fleet
        self.stand.upstream.due = (ONE_REQUEST,)
        self.ledger = Told(stand.store.ledger, [])
        self.usd = Decimal(1)

    def line(self, ledger: Callable[[Ledger], Ledger] | None = None) -> Line:
        budget = Budget(name="acme", tenant="acme", tier=None, per=Per.DAY, usd=self.usd)
        self.spending = Spending(
            [budget],
            spend=self.stand.store.spend,
            estimate=lambda _: Decimal("0.4"),
            clock=self.stand.clock,
            chance=lambda: 0.0,
        )
        line = self.stand.line(ledger=ledger or (lambda _: self.ledger))
        return replace(line, spending=self.spending)

    async def reserved(self) -> Decimal:
        await self.spending.aclose()
        return sum((each.reserved for each in self.fleet.spend_book().standing()), Decimal(0))

    async def takes_all(self) -> bool:
        """Tell whether nothing at all is counted against the limit."""
        self.stand.clock.pass_by(timedelta(seconds=2))
        return isinstance(await self.stand.store.limits.take([ALL]), Taken)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fleet = EmbeddedFleet(tmp_path)
    yield House(Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear), fleet)
    await fleet.close()


async def test_permits_and_money_are_counted_with_the_claim_and_the_seat_is_told(
    house: House,
) -> None:
    delivery = FakeDelivery(make_job())
    await house.line().handle(delivery)
    (terms,) = house.ledger.terms
    assert terms is not None
    assert terms.charges == (ONE_REQUEST,)
    assert terms.reservation is not None
    (seat,) = house.stand.upstream.took
    assert seat is not None
    assert seat.taken.charges == (ONE_REQUEST,)
    assert house.stand.upstream.seated == []
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert await house.reserved() == 0


async def test_what_neither_limit_nor_budget_holds_begins_without_terms(house: House) -> None:
    house.stand.upstream.due = ()
    await house.line().handle(FakeDelivery(make_job(tenant="globex")))
    assert house.ledger.terms == [None]


async def test_a_job_whose_permit_is_not_there_any_more_is_begun_at_another_seat(
    house: House,
) -> None:
    await house.stand.store.limits.take([ALL])
    delivery = FakeDelivery(make_job())
    await house.line().handle(delivery)
    assert [type(each) for each in house.ledger.said] == [Full, Started]
    (full,) = house.stand.upstream.full
    assert full.meter == ONE_REQUEST.meter.name
    assert house.stand.upstream.left == house.stand.upstream.given
    assert delivery.replies[0][0].attempts == 1
    assert house.stand.gate.asked == 1


async def test_a_job_whose_permit_is_nowhere_waits_and_has_counted_and_reserved_nothing(
    house: House,
) -> None:
    await house.stand.store.limits.take([ALL])
    house.stand.gate.permits = 1
    house.stand.upstream.no_seats = [MINUTE]
    line, delivery = house.line(), FakeDelivery(make_job())
    await line.handle(delivery)
    ((parked, after),) = delivery.parked
    assert house.stand.gate.permits == 1
    assert await house.reserved() == 0
    house.stand.clock.pass_by(after)
    again = FakeDelivery(parked)
    await line.handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_job_without_money_has_taken_no_permit(house: House) -> None:
    house.usd = Decimal("0.5")
    line = house.line()
    house.stand.upstream.gate.clear()
    first = asyncio.create_task(line.handle(FakeDelivery(make_job("k1"))))
    await house.stand.upstream.begun.wait()
    delivery = FakeDelivery(make_job("k2"))
    await line.handle(delivery)
    assert [after for _, after in delivery.parked] == [timedelta(seconds=10)]
    assert house.stand.gate.given_back == 1
    assert house.stand.upstream.left == house.stand.upstream.given[1:]
    assert house.stand.upstream.left[0].taken == NOTHING_TAKEN
    house.stand.upstream.gate.set()
    await first


async def test_where_the_job_is_not_begun_nothing_is_to_be_given_back(house: House) -> None:
    other = await house.fleet.join()
    await other.ledger.begin(make_job(), max_attempts=3)
    delivery = FakeDelivery(make_job())
    handling = asyncio.create_task(house.line().handle(delivery))
    await house.ledger.told.wait()
    handling.cancel()
    await asyncio.wait({handling})
    assert house.stand.upstream.calls == []
    (seat,) = house.stand.upstream.left
    assert seat.taken == NOTHING_TAKEN
    assert house.fleet.spend_book().standing() == []
    assert await house.takes_all()


async def test_a_begin_that_is_cancelled_at_any_moment_leaves_nothing_counted(house: House) -> None:
    line = house.line()
    for turns in range(40):
        handling = asyncio.create_task(line.handle(FakeDelivery(make_job(f"k{turns}"))))
        house.stand.upstream.gate.clear()
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        if house.stand.upstream.calls:
            break  # later than this nobody knows what it costs
        handling.cancel()
        await asyncio.wait({handling})
        await house.stand.store.ledger.find(make_job())
    handling.cancel()
    await asyncio.wait({handling})
    # Beside what the call holds that was made, if one was.
    calls = len(house.stand.upstream.calls)
    assert await house.reserved() == Decimal("0.4") * calls
    assert house.stand.upstream.left == house.stand.upstream.given
    begun = [each for each in house.stand.upstream.given if each.taken.charges]
    for seat in begun:
        await house.stand.store.limits.settle(seat.taken, (0,))
    assert await house.takes_all()


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_where_the_store_fails_at_the_beginning_the_money_goes_back(
    house: House, lost: str
) -> None:
    class Failing(Told):
        failures = 1

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, cached
            if self.failures:
                self.failures -= 1
                if lost == "after" and terms is not None and terms.reservation is not None:
                    money = terms.reservation
                    await house.stand.store.spend.reserve(money.name, money.caps, money.amount)
                raise StoreUnavailable("for a moment")

    house.usd = Decimal("0.7")  # not enough for two
    line = house.line(lambda real: Failing(real, []))
    delivery = FakeDelivery(make_job())
    async with house.stand.looking():
        await line.handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert await house.reserved() == 0


class Slow(Spy):
    """A ledger that takes longer to begin a job than a permit is good for."""

    clock: HandClock

    async def after_begin(self, begun: Beginning) -> None:
        del begun
        self.clock.pass_by(timedelta(seconds=1.5))


async def test_what_was_taken_with_a_begin_that_took_too_long_goes_back_with_its_seat(
    house: House,
) -> None:
    Slow.clock = house.stand.clock
    delivery = FakeDelivery(make_job())
    await house.line(lambda real: Slow(real, [])).handle(delivery)
    first, second = house.stand.upstream.left
    assert first.taken.charges == (ONE_REQUEST,)
    assert house.stand.upstream.took == [second]
    assert second.due == ()
    assert delivery.replies[0][0].attempts == 1


async def test_a_ledger_that_cannot_count_them_has_them_counted_one_by_one(house: House) -> None:
    class Plain(Told):
        @property
        def begins_at_once(self) -> bool:
            return False

    plain, store = Plain(house.stand.store.ledger, []), house.stand.store
    one_by_one = OneByOne(limits=store.limits, spend=store.spend)
    ledger = PatientLedger(plain, house.stand.outage, one_by_one=one_by_one)
    assert ledger.begins_at_once
    line = replace(house.line(), ledger=ledger)
    await line.handle(FakeDelivery(make_job()))
    assert plain.terms == [None]
    (seat,) = house.stand.upstream.took
    assert isinstance(seat, Seat)
    assert seat.taken.charges == (ONE_REQUEST,)
    assert await house.reserved() == 0
    await store.limits.settle(seat.taken, (0,))
    assert await house.takes_all()
