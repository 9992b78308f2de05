"""The money of a job's calls, over a store in memory."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.contract.world import HandClock, make_job
from worker.core.budgets import Budget, NoMoney, OnExceeded, Refuse, Unpriced, Wait
from worker.core.kinds import Kind
from worker.core.model import Job, Work
from worker.core.money import whole
from worker.core.spend import Cap, OverBudget, Per, Reserved, over
from worker.errors import StoreUnavailable
from worker.spending import Purse, Spending

NOTHING = Decimal(0)


class Till:
    """The port `Spend` for one pot, in memory."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.spent = Decimal(0)
        self.reserved: dict[str, Decimal] = {}
        self.away = False
        self.silent = False

    @property
    def held(self) -> Decimal:
        return sum(self.reserved.values(), Decimal(0))

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        self._look()
        taken = [(whole(self.spent), whole(self.held))] * len(caps)
        if (full := over(caps, taken, amount, self.clock.now())) is not None:
            return full
        self.reserved[reservation] = amount
        if self.silent:
            raise StoreUnavailable("did not answer in time")
        return Reserved(name=reservation, amount=amount)

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        self._look()
        held = self.reserved.pop(reserved.name, None)
        if held is not None:
            self.spent += held if amount is None else amount

    def _look(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class House:
    """Jobs of 0.25 a call at most, and a budget of 1.00 a day."""

    def __init__(
        self,
        *,
        on_exceeded: OnExceeded = OnExceeded.WAIT,
        without_price: Unpriced = Unpriced.ALLOW,
        tenant: str = "acme",
    ) -> None:
        self.clock = HandClock()
        self.till = Till(self.clock)
        self.estimate: Decimal | None = Decimal("0.25")
        budget = Budget(
            name="acme",
            tenant=tenant,
            tier=None,
            per=Per.DAY,
            usd=Decimal("1.00"),
            on_exceeded=on_exceeded,
            unpriced=without_price,
        )
        self.spending = Spending(
            [budget],
            spend=self.till,
            estimate=lambda _: self.estimate,
            clock=self.clock,
            chance=lambda: 0.0,
        )

    async def purse(self, job: Job | None = None) -> Purse:
        purse = await reserve(self.spending, job or make_job())
        assert isinstance(purse, Purse)
        return purse

    async def settle(self, purse: Purse, work: Work) -> None:
        self.spending.settle(purse.spent(work))
        await self.spending.aclose()

    async def give_back(self, purse: Purse) -> None:
        self.spending.give_back(purse)
        await self.spending.aclose()


async def reserve(spending: Spending, job: Job) -> Purse | NoMoney:
    """Reserve for a job's first call, as its begin does; or tell what becomes of it without."""
    purse = spending.purse(job)
    if not isinstance(purse, Purse):
        return purse
    try:
        full = await purse.open()
    except StoreUnavailable:
        spending.give_back(purse)
        raise
    return purse if full is None else spending.no_money(job, full)


def work(spent: str = "0", unpriced: int = 0) -> Work:
    return Work(calls=1, spent=Decimal(spent), unpriced=unpriced)


async def test_a_call_is_reserved_for_and_what_it_cost_is_counted() -> None:
    house = House()
    purse = await house.purse()
    assert (house.till.held, house.till.spent) == (Decimal("0.25"), NOTHING)
    await house.settle(purse, work("0.1"))
    assert (house.till.held, house.till.spent) == (NOTHING, Decimal("0.1"))


async def test_no_call_made_costs_nothing() -> None:
    house = House()
    await house.give_back(await house.purse())
    assert (house.till.held, house.till.spent) == (NOTHING, NOTHING)


async def test_a_call_whose_cost_is_not_known_counts_as_its_estimate() -> None:
    house = House()
    await house.settle(await house.purse(), work("0", unpriced=1))
    assert (house.till.held, house.till.spent) == (NOTHING, Decimal("0.25"))


async def test_every_further_call_of_an_attempt_is_reserved_for() -> None:
    house = House()
    purse = await house.purse()
    assert [await purse.more() for _ in range(4)] == [True, True, True, False]
    assert house.till.held == 1
    await house.settle(purse, work("0.2", unpriced=2))
    assert (house.till.held, house.till.spent) == (NOTHING, Decimal("0.7"))


async def test_while_the_store_is_away_there_is_no_money_for_a_further_call() -> None:
    house = House()
    purse = await house.purse()
    house.till.away = True
    assert not await purse.more()


async def test_what_was_reserved_without_an_answer_goes_back_and_holds_no_money_up() -> None:
    house = House()
    house.till.silent = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await reserve(house.spending, make_job())
    await house.spending.aclose()
    assert (house.till.held, house.till.spent) == (NOTHING, NOTHING)


async def test_what_was_reserved_without_an_answer_for_a_further_call_goes_back_at_the_end() -> (
    None
):
    house = House()
    purse = await house.purse()
    house.till.silent = True
    assert not await purse.more()
    assert house.till.held == Decimal("0.5")
    await house.settle(purse, work("0.1"))
    assert (house.till.held, house.till.spent) == (NOTHING, Decimal("0.1"))


async def test_what_was_settled_in_part_is_settled_again_and_counts_once() -> None:
    house = House()
    purse = await house.purse()
    await purse.more()
    spent = purse.spent(work("0.3"))
    assert (purse.held, purse.spent(work("0.3"))) == ([], ())
    await house.till.settle(*spent[0])
    assert (house.till.held, house.till.spent) == (Decimal("0.25"), Decimal("0.3"))
    house.spending.settle(spent)
    await house.spending.aclose()
    assert (house.till.held, house.till.spent) == (NOTHING, Decimal("0.3"))


async def test_a_job_without_money_waits_until_the_day_ends() -> None:
    house = House()
    house.till.spent = Decimal("0.8")
    house.clock.pass_by(timedelta(hours=11, minutes=30))
    job = make_job(deadline=house.clock.now() + timedelta(days=3))
    waiting = await reserve(house.spending, job)
    assert isinstance(waiting, Wait)
    assert waiting.wait == timedelta(minutes=30)


async def test_a_job_without_money_is_refused_where_nobody_waits() -> None:
    house = House(on_exceeded=OnExceeded.REFUSE)
    house.till.spent = Decimal("0.8")
    refused = await reserve(house.spending, make_job())
    assert isinstance(refused, Refuse)
    assert refused.failed.kind is Kind.BUDGET_EXCEEDED


async def test_a_call_without_a_price_is_uncounted_until_its_cost_is_known() -> None:
    house = House()
    house.estimate = None
    purse = await house.purse()
    await house.settle(purse, work("0", unpriced=1))
    assert house.till.spent == 0
    await house.settle(await house.purse(), work("0.5"))
    assert house.till.spent == Decimal("0.5")


async def test_a_call_without_a_price_is_refused_where_that_is_chosen() -> None:
    house = House(without_price=Unpriced.REFUSE)
    house.estimate = None
    assert isinstance(await reserve(house.spending, make_job()), Refuse)
    assert house.till.reserved == {}


async def test_a_job_without_a_budget_asks_nobody() -> None:
    house = House(tenant="globex")
    house.till.away = True
    assert not house.spending.holds(make_job())
    purse = await house.purse()
    assert await purse.more()
    await house.settle(purse, work("3"))
    await house.give_back(purse)


async def test_a_job_with_a_budget_is_held_to_it() -> None:
    assert House().spending.holds(make_job())
    assert House(tenant="*").spending.holds(make_job(tenant="initech"))


async def test_no_two_reservations_have_the_same_name_in_any_process() -> None:
    houses = [House(), House()]
    for house in houses:
        for _ in range(4):
            await house.purse()
    names = [name for house in houses for name in house.till.reserved]
    assert len(set(names)) == len(names) == 8
