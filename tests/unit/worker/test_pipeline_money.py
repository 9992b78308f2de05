"""The line before and after a call: the money for it, or what a job does without."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import apsw
import pytest

from producer_sdk.wire import Dedupe, Status
from tests.contract.world import ANSWER, BEGAN, EmbeddedFleet, make_job
from tests.unit.worker.stand import FakeDelivery, FakeUpstream, Spy, Stand
from worker.core.bill import NO_BILL, Bill
from worker.core.budgets import Budget, OnExceeded
from worker.core.events import StoreLost, Trouble
from worker.core.kinds import Kind
from worker.core.limits import Charge, Full, Meter, Taken, Used
from worker.core.model import (
    Attempted,
    Decided,
    Failed,
    Follow,
    Job,
    Outcome,
    Terminal,
    Work,
)
from worker.core.seats import Seat
from worker.core.spend import Per
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.pipeline import Line
from worker.ports import MayCall
from worker.spending import Spending
from worker.store.embedded import cache, limits

ESTIMATE = Decimal("0.4")


@dataclass(slots=True)
class Till(FakeUpstream):
    """An upstream whose attempts cost what the test says; it asks for `more` further calls."""

    work: Work = field(default_factory=lambda: Work(calls=1, spent=Decimal("0.1")))
    used: tuple[Used, ...] = ()
    more: int = 0
    allowed: list[bool] = field(default_factory=list)

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        # Not `super()`: a dataclass with slots is another class than the one that this body sees.
        attempted = await FakeUpstream.attempt(
            self, job, calls_left=calls_left, may_call=may_call, seat=seat
        )
        self.allowed = [await may_call() for _ in range(self.more)]
        return replace(attempted, work=self.work, used=self.used)


@dataclass(slots=True)
class Faulty(Spy):
    """A ledger whose ends fail: `failures` of them, before their commit or after it."""

    error: Exception = field(default_factory=lambda: StoreUnavailable("for a moment"))
    failures: int = 1
    commits: bool = False

    async def end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided | Follow:
        failing, self.failures = self.failures > 0, self.failures - 1
        if failing and not self.commits:
            raise self.error
        ended = await self.real.end(job, outcome, settlement, work=work, claimed=claimed, bill=bill)
        if failing:
            raise self.error
        return ended


class House:
    """A line whose jobs cost 0.4 at most, under a budget of 1.00 a day."""

    def __init__(self, stand: Stand, book: EmbeddedFleet) -> None:
        self.stand = stand
        self.book = book
        self.upstream = Till()
        stand.upstream = self.upstream
        self.on_exceeded = OnExceeded.WAIT

    def line(self) -> Line:
        budget = Budget(
            name="acme",
            tenant="acme",
            tier=None,
            per=Per.DAY,
            usd=Decimal(1),
            on_exceeded=self.on_exceeded,
        )
        self.spending = Spending(
            [budget],
            spend=self.stand.store.spend,
            estimate=lambda _: ESTIMATE,
            clock=self.stand.clock,
            chance=lambda: 0.0,
        )
        return replace(self.stand.line(), spending=self.spending)

    async def sums(self) -> tuple[Decimal, Decimal]:
        """Give what is spent and what is reserved, when all that was to be settled is."""
        await self.spending.aclose()
        standing = self.book.spend_book().standing()
        return (standing[0].spent, standing[0].reserved) if standing else (Decimal(0), Decimal(0))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fleet = EmbeddedFleet(tmp_path)
    yield House(Stand(store=await fleet.join(), clock=fleet.clock, ear=fleet.ear), fleet)
    await fleet.close()


async def test_a_call_is_settled_by_what_it_cost(house: House) -> None:
    delivery = FakeDelivery(make_job())
    await house.line().handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_jobs_at_the_same_time_reserve_before_they_call_and_the_next_one_waits(
    house: House,
) -> None:
    house.upstream.gate.clear()
    line = house.line()
    deliveries = [FakeDelivery(make_job(f"k{number}")) for number in range(3)]
    tasks = [asyncio.create_task(line.handle(each)) for each in deliveries]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(house.upstream.calls) == 2
    ((_, after),) = [parked for each in deliveries for parked in each.parked]
    assert after == timedelta(seconds=10)
    house.upstream.gate.set()
    await asyncio.gather(*tasks)
    assert await house.sums() == (Decimal("0.2"), Decimal(0))


async def test_a_job_without_money_waits_for_the_next_day_and_counts_no_attempt(
    house: House,
) -> None:
    house.upstream.work = Work(calls=1, spent=Decimal("0.8"))
    line, job = house.line(), make_job("k2", deadline=BEGAN + timedelta(days=2))
    await line.handle(FakeDelivery(make_job("k1")))
    await house.spending.aclose()
    delivery = FakeDelivery(job)
    await line.handle(delivery)
    ((parked, after),) = delivery.parked
    assert after == timedelta(hours=1)
    assert house.stand.gate.given_back == 1
    explained = house.book.archive().explain(job.id)
    assert explained is not None
    assert [(line.what, line.kind) for line in explained.history] == [("snooze", "budget_exceeded")]
    house.stand.clock.pass_by(timedelta(hours=12))
    again = FakeDelivery(parked)
    await line.handle(again)
    assert again.replies[0][0].attempts == 1


async def test_a_job_without_money_is_refused_without_a_call_or_a_dead_letter(
    house: House,
) -> None:
    house.on_exceeded = OnExceeded.REFUSE
    house.upstream.work = Work(calls=1, spent=Decimal("0.8"))
    line = house.line()
    await line.handle(FakeDelivery(make_job("k1")))
    await house.spending.aclose()
    delivery = FakeDelivery(make_job("k2"))
    await line.handle(delivery)
    ((reply, _),) = delivery.replies
    assert (reply.status, reply.error().kind) == (Status.REFUSED, "budget_exceeded")
    assert (delivery.dead, len(house.upstream.calls)) == ([], 1)


async def test_a_failed_attempt_is_paid_for_by_what_it_cost_and_its_estimate_where_nobody_knows(
    house: House,
) -> None:
    house.upstream.outcomes = [Failed(kind=Kind.TIMEOUT)]
    house.upstream.work = Work(calls=2, spent=Decimal("0.05"), unpriced=1)
    await house.line().handle(FakeDelivery(make_job()))
    assert await house.sums() == (Decimal("0.45"), Decimal(0))


async def test_every_further_call_of_an_attempt_needs_money_of_its_own(house: House) -> None:
    house.upstream.more = 2
    await house.line().handle(FakeDelivery(make_job()))
    assert house.upstream.allowed == [True, False]
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_an_answer_that_needs_no_call_needs_no_money(house: House) -> None:
    line = house.line()
    await house.stand.store.cache.put(make_job().fingerprint, ANSWER)
    delivery = FakeDelivery(make_job(dedupe=Dedupe.CACHE))
    await line.handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert house.book.spend_book().standing() == []


async def test_nothing_is_reserved_for_a_job_that_is_not_begun(house: House) -> None:
    line, job = house.line(), make_job()
    other = await house.book.join()
    await other.ledger.begin(make_job("k2", content_hash=job.content_hash), max_attempts=3)
    await other.ledger.begin(job, max_attempts=3)
    await line.handle(FakeDelivery(job))
    assert house.upstream.calls == []
    assert await house.sums() == (Decimal(0), Decimal(0))
    assert house.book.spend_book().standing() == []


async def test_what_was_reserved_goes_back_where_the_store_fails_at_the_beginning(
    house: House,
) -> None:
    class Failing(Spy):
        failures = 1

        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("for a moment")

    line = house.line()
    ledger = house.stand.line(ledger=lambda real: Failing(real, [])).ledger
    async with house.stand.looking():
        await replace(line, ledger=ledger).handle(FakeDelivery(make_job()))
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_what_was_reserved_goes_back_where_the_worker_stops_before_the_call(
    house: House,
) -> None:
    asked = asyncio.Event()

    class Silent(Spy):
        async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
            del job, terms, cached
            asked.set()
            await asyncio.Future()

    ledger = house.stand.line(ledger=lambda real: Silent(real, [])).ledger
    line = replace(house.line(), ledger=ledger)
    handling = asyncio.create_task(line.handle(FakeDelivery(make_job())))
    await asked.wait()
    handling.cancel()
    await asyncio.wait({handling})
    assert house.upstream.calls == []
    assert await house.sums() == (Decimal(0), Decimal(0))


async def test_what_a_cancelled_call_reserved_stays_reserved(house: House) -> None:
    house.upstream.gate.clear()
    handling = asyncio.create_task(house.line().handle(FakeDelivery(make_job())))
    await house.upstream.begun.wait()
    handling.cancel()
    await asyncio.wait({handling})
    assert await house.sums() == (Decimal(0), ESTIMATE)


async def test_a_job_with_a_budget_is_not_called_for_without_the_store(house: House) -> None:
    house.line()
    line = replace(house.stand.line(spawn=asyncio.ensure_future), spending=house.spending)
    house.stand.outage.failed(StoreUnavailable("away"))
    handling = asyncio.create_task(line.handle(FakeDelivery(make_job())))
    other = FakeDelivery(make_job(tenant="globex"))
    await line.handle(other)
    assert len(house.upstream.calls) == 1
    async with house.stand.looking():
        await handling
    assert len(house.upstream.calls) == 2


@pytest.mark.parametrize("commits", [False, True], ids=["not done", "done"])
async def test_an_end_that_the_store_fails_is_repeated_and_settles_money_once_and_limits_not_twice(
    house: House, *, commits: bool
) -> None:
    counted = house.stand.store.limits
    charge = Charge(meter=Meter(name="endpoint:alpha:tokens", limit=1000), amount=900)
    taken = await counted.take([charge])
    assert isinstance(taken, Taken)
    house.upstream.used = (Used(taken, (400,)),)
    ledger = house.stand.line(ledger=lambda real: Faulty(real, [], commits=commits)).ledger
    line, delivery = replace(house.line(), ledger=ledger), FakeDelivery(make_job())
    async with house.stand.looking():
        await line.handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert await house.sums() == (Decimal("0.1"), Decimal(0))
    house.stand.clock.pass_by(timedelta(seconds=2))
    # Where nothing was done it stays as reckoned: what is known of a minute ago is not worth a wait.
    left = 600 if commits else 100
    assert isinstance(await counted.take([replace(charge, amount=left + 1)]), Full)
    assert isinstance(await counted.take([replace(charge, amount=left)]), Taken)


async def test_a_cache_whose_pages_are_damaged_keeps_no_job_from_its_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object, **__: object) -> None:
        raise apsw.CorruptError("database disk image is malformed")

    monkeypatch.setattr(cache, "keep", damaged)
    delivery = FakeDelivery(make_job(dedupe=Dedupe.CACHE))
    async with house.stand.looking():
        await house.line().handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_an_end_that_a_bug_of_ours_breaks_is_paid_for(house: House) -> None:
    bug = RuntimeError("a bug")
    ledger = house.stand.line(ledger=lambda real: Faulty(real, [], error=bug, failures=2)).ledger
    line = replace(house.line(), ledger=ledger)
    with pytest.raises(RuntimeError, match="a bug"):
        await line.handle(FakeDelivery(make_job()))
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


@pytest.mark.parametrize("commits", [False, True], ids=["not done", "done"])
async def test_a_bug_of_ours_in_a_bill_costs_no_paid_answer(house: House, *, commits: bool) -> None:
    bug = RuntimeError("a bug")
    ledger = house.stand.line(
        ledger=lambda real: Faulty(real, [], error=bug, commits=commits)
    ).ledger
    line, delivery = replace(house.line(), ledger=ledger), FakeDelivery(make_job())
    await line.handle(delivery)
    assert delivery.replies[0][0].status is Status.COMPLETED
    assert (delivery.acks, len(house.upstream.calls)) == (1, 1)
    assert await house.sums() == (Decimal("0.1"), Decimal(0))
    (trouble,) = [each for each in house.stand.ear.heard if isinstance(each, Trouble)]
    assert (trouble.about, trouble.error) == (delivery.job.id, "RuntimeError")


@pytest.mark.parametrize(
    ("module", "completed"),
    [(cache, True), (limits, True), (limits, False)],
    ids=["cache", "limits", "limits of a parked one"],
)
async def test_a_bug_of_ours_in_what_a_bill_settles_costs_no_paid_attempt(
    house: House, monkeypatch: pytest.MonkeyPatch, module: ModuleType, *, completed: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "keep" if module is cache else "settle", broken)
    house.upstream.used = (Used(Taken(), ()),)
    house.upstream.outcomes = [ANSWER if completed else Failed(kind=Kind.TIMEOUT)]
    delivery = FakeDelivery(make_job(dedupe=Dedupe.CACHE))
    await house.line().handle(delivery)
    assert [reply.status for reply, _ in delivery.replies] == [Status.COMPLETED] * completed
    assert (len(delivery.parked), delivery.dead, delivery.acks) == (not completed, [], 1)
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_a_call_whose_record_waits_for_the_store_is_paid_for_when_the_worker_stops(
    house: House,
) -> None:
    ledger = house.stand.line(ledger=lambda real: Faulty(real, [], failures=99)).ledger
    line = replace(house.line(), ledger=ledger)
    handling = asyncio.create_task(line.handle(FakeDelivery(make_job())))
    await house.stand.ear.hears(StoreLost)
    handling.cancel()
    await asyncio.wait({handling})
    assert await house.sums() == (Decimal("0.1"), Decimal(0))


async def test_an_answer_that_goes_another_way_is_paid_for(house: House) -> None:
    house.line()
    tasks = list[asyncio.Task[None]]()
    line = house.stand.line(
        ledger=lambda real: Faulty(real, []),
        spawn=lambda work: tasks.append(asyncio.create_task(work)),
    )
    delivery = FakeDelivery(make_job())
    await replace(line, spending=house.spending).handle(delivery)
    assert not delivery.replies[0][0].recorded
    await asyncio.gather(*tasks)
    assert await house.sums() == (Decimal("0.1"), Decimal(0))
