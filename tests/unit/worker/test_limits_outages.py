"""What is left of the accounts' limits while the store that counts them does not answer."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from tests.contract.world import ANSWER, Ear, HandClock, make_job
from worker.core.limits import Charge, Full, Meter, Taken
from worker.core.model import (
    Beginning,
    CalledOff,
    Conflict,
    Follow,
    Job,
    Joined,
    Stale,
    Started,
    Tally,
)
from worker.core.spend import OverBudget
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.ownlimits import OwnLimits
from worker.patience import PatientLedger, PatientLimits

if TYPE_CHECKING:
    from worker.ports import Ledger

ONE = Charge(meter=Meter(name="endpoint:alpha:requests", limit=1), amount=1)
TOKENS = Charge(meter=Meter(name="endpoint:alpha:tokens", limit=1000), amount=600)


class CountingStore:
    """A store's `Limits` that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.took: list[Sequence[Charge]] = []
        self.settled: list[Sequence[int]] = []

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        self._look()
        self.took.append(charges)
        return Taken(charges=tuple(charges), slot=1)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        assert taken.slot == 1
        self._look()
        self.settled.append(amounts)

    def _look(self) -> None:
        if self.away:
            raise StoreUnavailable("the store does not answer")


class House:
    def __init__(self, *, calls_on: bool) -> None:
        self.clock, self.store = HandClock(), CountingStore()
        self.outage = Outage(probe=self._probe, clock=self.clock, listener=Ear())
        own = OwnLimits(self.clock) if calls_on else None
        self.limits = PatientLimits(self.store, self.outage, own=own)

    async def _probe(self) -> bool:
        return not self.store.away

    async def taken(self, *charges: Charge) -> Taken:
        told = await self.limits.take(charges)
        assert isinstance(told, Taken), told
        return told


@pytest.mark.parametrize("calls_on", [True, False])
async def test_while_the_store_answers_it_counts_everything(*, calls_on: bool) -> None:
    house = House(calls_on=calls_on)
    for _ in range(3):
        await house.limits.settle(await house.taken(ONE), (0,))
    assert len(house.store.took) == len(house.store.settled) == 3


async def test_what_cannot_be_counted_is_not_taken_and_begins_the_outage() -> None:
    house = House(calls_on=False)
    house.store.away = True
    with pytest.raises(StoreUnavailable):
        await house.limits.take([ONE])
    assert not house.outage.answering


async def test_a_take_alone_ends_no_outage() -> None:
    house = House(calls_on=False)
    house.outage.failed(StoreUnavailable("full"))
    await house.taken(ONE)
    assert not house.outage.answering


@pytest.mark.parametrize(
    ("told", "writes"),
    [
        (Full(wait=timedelta(seconds=1), meter="m"), False),
        (OverBudget(over=()), False),
        (CalledOff(), False),
        (Stale(), False),
        (Conflict(), False),
        (ANSWER, False),
        (Started(attempt=1, tally=Tally(attempts=1)), True),
        (Follow(leader="another"), True),
        (Joined(), True),
    ],
)
async def test_a_begin_that_has_only_read_ends_no_outage(told: Beginning, *, writes: bool) -> None:
    class Telling:
        begins_at_once = True

        async def begin(
            self, job: Job, *, max_attempts: int, terms: Terms, cached: bool | None
        ) -> Beginning:
            del job, max_attempts, terms, cached
            return told

    house = House(calls_on=False)
    ledger = PatientLedger(cast("Ledger", Telling()), house.outage)
    house.outage.failed(StoreUnavailable("full"))
    terms = Terms(charges=(ONE,))
    assert await ledger.begin(make_job(), max_attempts=3, terms=terms, cached=True) == told
    assert house.outage.answering is writes


@pytest.mark.parametrize("calls_on", [True, False])
async def test_what_the_store_cannot_settle_is_let_go(*, calls_on: bool) -> None:
    house = House(calls_on=calls_on)
    taken = await house.taken(ONE)
    house.store.away = True
    await house.limits.settle(taken, (0,))
    assert not house.outage.answering
    await house.limits.settle(taken, (0,))
    assert house.store.settled == []


async def test_a_worker_that_calls_on_holds_the_limit_by_its_own_count() -> None:
    house = House(calls_on=True)
    house.store.away = True
    await house.taken(ONE)
    full = await house.limits.take([ONE])
    assert isinstance(full, Full)
    assert full.wait > timedelta(seconds=60)
    house.clock.pass_by(full.wait)
    await house.taken(ONE)
    assert house.store.took == []


async def test_what_was_taken_without_the_store_is_settled_without_it() -> None:
    house = House(calls_on=True)
    house.store.away = True
    taken = await house.taken(ONE, TOKENS)
    house.store.away = False
    await house.limits.settle(taken, (0, 100))
    house.store.away = True
    house.clock.pass_by(timedelta(seconds=2))
    await house.taken(ONE, TOKENS)
    assert (house.store.took, house.store.settled) == ([], [])


async def test_all_of_a_call_is_counted_or_nothing_also_without_the_store() -> None:
    own = OwnLimits(HandClock())
    assert isinstance(await own.take([TOKENS]), Taken)
    assert isinstance(await own.take([ONE, TOKENS]), Full)
    assert isinstance(await own.take([ONE]), Taken)
    free = await own.take([])
    assert isinstance(free, Taken)
    await own.settle(free, ())
