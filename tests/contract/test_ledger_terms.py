"""`begin` on terms: permits, money and the claim, all of them or none, whether the ledger counts them or others do for it."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    NO_CALL,
    ONE_CALL,
    Ear,
    Fleet,
    HandClock,
    Worker,
    as_ended,
    asked,
    complete,
    dead_letter,
    make_job,
)
from worker.core.limits import Charge, Full, Meter, Taken
from worker.core.model import (
    Beginning,
    CalledOff,
    Conflict,
    Exhausted,
    Follow,
    Job,
    Snooze,
    Started,
    Tally,
)
from worker.core.spend import Account, Cap, Over, OverBudget, Per
from worker.core.terms import Reservation, Terms
from worker.counting import OneByOne
from worker.outage import Outage
from worker.patience import PatientLedger

REQUESTS = Charge(meter=Meter(name="endpoint:alpha:requests", limit=2), amount=1)
TOKENS = Charge(meter=Meter(name="endpoint:alpha:tokens", limit=1000), amount=400)
CHARGES = (REQUESTS, TOKENS)
DAY = Cap(account=Account(tenant="acme"), per=Per.DAY, usd=Decimal(1))
MONTH = Cap(account=Account(), per=Per.MONTH, usd=Decimal(5))
NOTHING = (Decimal(0), Decimal(0))
JOB = make_job()
NAMES = count()


def money(amount: str = "0.4") -> Reservation:
    return Reservation(name=f"t{next(NAMES)}", caps=(DAY, MONTH), amount=Decimal(amount))


async def works() -> bool:
    return True


class Counter:
    """Begins jobs on terms at one worker, as its ledger lets it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.one_by_one = OneByOne(limits=worker.limits, spend=worker.spend)
        self._outage = Outage(probe=works, clock=HandClock(), listener=Ear())

    async def begin(
        self, job: Job, terms: Terms, *, max_attempts: int = 3, cached: bool | None = None
    ) -> Beginning:
        """Begin; what goes back has gone back then."""
        ledger = PatientLedger(self.worker.ledger, self._outage, one_by_one=self.one_by_one)
        try:
            return await ledger.begin(job, max_attempts=max_attempts, terms=terms, cached=cached)
        finally:
            await self.one_by_one.aclose()

    async def started(self, job: Job, terms: Terms) -> Started:
        begun = await self.begin(job, terms)
        assert isinstance(begun, Started), begun
        return begun

    async def room(self, fleet: Fleet) -> int:
        """Tell how many tokens the account has left, by taking them."""
        fleet.clock.pass_by(timedelta(seconds=2))  # past the pace
        for amount in range(1000, 0, -100):
            told = await self.worker.limits.take([Charge(meter=TOKENS.meter, amount=amount)])
            if isinstance(told, Taken):
                await self.worker.limits.settle(told, (0,))
                return amount
        return 0


def sums(fleet: Fleet) -> tuple[Decimal, Decimal]:
    """Give what is spent and what is reserved of the tenant's day; of the month it is the same."""
    day, month = [
        next(
            (
                (each.spent, each.reserved)
                for each in fleet.spend_book().standing()
                if each.pot.per is per
            ),
            NOTHING,
        )
        for per in Per
    ]
    assert day == month
    return day


@pytest.fixture
async def counter(worker: Worker) -> Counter:
    return Counter(worker)


async def test_a_start_counts_the_attempt_the_permits_and_the_money(
    fleet: Fleet, counter: Counter
) -> None:
    begun = await counter.started(JOB, Terms(charges=CHARGES, reservation=money()))
    assert (begun.attempt, begun.tally) == (1, Tally(attempts=1))
    assert begun.taken.charges == CHARGES
    assert await counter.room(fleet) == 600
    assert sums(fleet) == (Decimal(0), Decimal("0.4"))


async def test_what_a_start_has_taken_is_settled_as_what_is_taken_before_it(
    fleet: Fleet, counter: Counter
) -> None:
    terms = Terms(charges=CHARGES, reservation=(reservation := money()))
    begun = await counter.started(JOB, terms)
    await counter.worker.limits.settle(begun.taken, (1, 100))
    await counter.worker.spend.settle(reservation.reserved, Decimal("0.1"))
    assert await counter.room(fleet) == 900
    assert sums(fleet) == (Decimal("0.1"), Decimal(0))


@pytest.mark.parametrize(
    "terms",
    [Terms(), Terms(charges=CHARGES), Terms(reservation=money())],
    ids=["none", "limits", "money"],
)
async def test_a_part_of_the_terms_is_counted_alone(
    fleet: Fleet, counter: Counter, terms: Terms
) -> None:
    begun = await counter.started(JOB, terms)
    assert begun.taken.charges == terms.charges
    assert await counter.room(fleet) == (600 if terms.charges else 1000)
    assert sums(fleet)[1] == (Decimal("0.4") if terms.reservation else 0)


async def test_without_a_permit_nothing_is_counted_and_nothing_else_is_said(
    fleet: Fleet, counter: Counter
) -> None:
    await counter.worker.limits.take([Charge(meter=TOKENS.meter, amount=900)])
    fleet.clock.pass_by(timedelta(seconds=2))
    full = await counter.begin(JOB, Terms(charges=CHARGES, reservation=money("1.5")))
    assert isinstance(full, Full)
    assert full.meter == "endpoint:alpha:tokens"
    assert sums(fleet) == NOTHING
    assert fleet.archive().explain(JOB.id) is None
    fleet.clock.pass_by(full.wait)
    for key in ("k1", "k2"):  # of the requests nothing was taken
        fleet.clock.pass_by(timedelta(seconds=2))
        begun = await counter.started(make_job(key), Terms(charges=CHARGES))
        assert begun.attempt == 1


async def test_without_money_nothing_is_counted_and_nothing_else_is_said(
    fleet: Fleet, counter: Counter
) -> None:
    await counter.started(make_job("k2"), Terms(reservation=money("0.7")))
    told = await counter.begin(JOB, Terms(charges=CHARGES, reservation=money()))
    until = datetime(2026, 11, 4, tzinfo=UTC)
    assert told == OverBudget(
        over=(Over(account=DAY.account, per=Per.DAY, until=until, spent=False),)
    )
    assert await counter.room(fleet) == 1000
    assert sums(fleet) == (Decimal(0), Decimal("0.7"))
    assert fleet.archive().explain(JOB.id) is None


async def test_the_terms_are_looked_at_before_what_the_ledger_knows(
    fleet: Fleet, counter: Counter
) -> None:
    await complete(counter.worker.ledger, JOB)
    await counter.worker.limits.take([Charge(meter=TOKENS.meter, amount=900)])
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance(await counter.begin(JOB, Terms(charges=CHARGES)), Full)
    as_ended(await counter.begin(JOB, Terms(reservation=money())))


@pytest.mark.parametrize(
    "instead", ["ended", "conflict", "followed", "called off", "exhausted", "dead"]
)
async def test_where_the_job_is_not_begun_nothing_is_counted(
    fleet: Fleet, counter: Counter, instead: str
) -> None:
    ledger, job, most = counter.worker.ledger, JOB, 3
    match instead:
        case "ended":
            await complete(ledger, job)
        case "conflict":
            await complete(ledger, job)
            job = make_job(content_hash="c2")
        case "followed":
            await (await fleet.join()).ledger.begin(job, max_attempts=3)
        case "called off":
            await ledger.cancel(asked(job, by_key=True))
        case "exhausted":
            most = 0
        case _:
            await dead_letter(ledger, job)
    told = await counter.begin(job, Terms(charges=CHARGES, reservation=money()), max_attempts=most)
    kinds = {
        "conflict": Conflict,
        "followed": Follow,
        "called off": CalledOff,
        "exhausted": Exhausted,
    }
    if instead in kinds:
        assert isinstance(told, kinds[instead])
    else:
        as_ended(told)
    assert await counter.room(fleet) == 1000
    assert sums(fleet) == NOTHING


async def test_of_those_who_begin_at_once_as_many_start_as_there_is_room_for(
    fleet: Fleet, worker: Worker
) -> None:
    counters = [Counter(worker), Counter(await fleet.join())]
    told = await asyncio.gather(
        *(
            counters[number % 2].begin(make_job(f"k{number}"), Terms(reservation=money("0.3")))
            for number in range(10)
        )
    )
    assert sum(isinstance(each, Started) for each in told) == 3
    assert sum(isinstance(each, OverBudget) for each in told) == 7
    assert sums(fleet) == (Decimal(0), Decimal("0.9"))
    charge = Charge(meter=TOKENS.meter, amount=300)
    told = await asyncio.gather(
        *(
            counters[number % 2].begin(make_job(f"l{number}"), Terms(charges=(charge,)))
            for number in range(10)
        )
    )
    started = [each for each in told if isinstance(each, Started)]
    assert 1 <= len(started) <= 3  # the pace lets one or more of them through
    assert sum(isinstance(each, Full) for each in told) == 10 - len(started)
    assert await counters[0].room(fleet) == 1000 - 300 * len(started)


async def test_an_attempt_that_comes_back_counts_its_terms_again(
    fleet: Fleet, counter: Counter
) -> None:
    ledger = counter.worker.ledger
    first = await counter.started(JOB, Terms(charges=CHARGES))
    await counter.worker.limits.settle(first.taken, (0, 0))
    await ledger.park(JOB, Snooze(after=timedelta()), BEGAN, work=NO_CALL, why=None, claimed=True)
    later = make_job(first=False, generation=1)
    assert (await counter.started(later, Terms(charges=CHARGES))).attempt == 1
    assert await counter.room(fleet) == 600
    as_ended(await ledger.end(later, ANSWER, DONE, work=ONE_CALL, claimed=True))


@pytest.fixture
async def cancelled(fleet: Fleet, counter: Counter) -> list[Terms]:
    """Begins on terms, each of whose callers was cancelled at another moment."""
    given = list[Terms]()
    for turns in range(12):
        job = make_job(f"k{turns}")
        terms = Terms(charges=CHARGES, reservation=money("0.01"))
        given.append(terms)
        begun = asyncio.create_task(counter.begin(job, terms))
        for _ in range(turns):
            await asyncio.sleep(0)
        begun.cancel()
        with suppress(asyncio.CancelledError):
            told = await begun
            # It was too late to cancel it: so it is undone as by whoever makes no call.
            assert isinstance(told, Started)
            await counter.worker.limits.settle(told.taken, (0, 0))
            snooze = Snooze(after=timedelta())
            await counter.worker.ledger.park(
                job, snooze, BEGAN, work=NO_CALL, why=None, claimed=True
            )
        # Behind what is under way, so that what may have been counted is found.
        await counter.worker.ledger.find(job)
        fleet.clock.pass_by(timedelta(minutes=2))
    return given


async def test_a_begin_whose_caller_is_cancelled_counts_nothing_once_its_reservation_is_settled(
    fleet: Fleet, counter: Counter, cancelled: list[Terms]
) -> None:
    ledger = counter.worker.ledger
    for number, terms in enumerate(cancelled):
        assert terms.reservation is not None
        await counter.worker.spend.settle(terms.reservation.reserved, Decimal(0))
        await ledger.released(make_job(f"k{number}").claim_key, at_most=timedelta(seconds=10))
    assert sums(fleet) == NOTHING
    assert await counter.room(fleet) == 1000
