import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.contract.world import Ear, HandClock
from worker.core.events import StoreBack, StoreLost
from worker.errors import SettingsError, StoreUnavailable, StoreUnusable
from worker.outage import Outage, opened

DOWN = StoreUnavailable("down")


class Probe:
    def __init__(self, answers: Iterable[bool]) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.news = asyncio.Event()

    async def __call__(self) -> bool:
        self.asked += 1
        self.news.set()
        return self.answers.pop(0) if self.answers else True


class House:
    def __init__(self, answers: Iterable[bool] = ()) -> None:
        self.clock, self.ear, self.probe = HandClock(), Ear(), Probe(answers)
        self.outage = Outage(
            probe=self.probe, clock=self.clock, listener=self.ear, chance=lambda: 0.5, look_s=0.01
        )

    def told(self) -> list[type]:
        return [type(event) for event in self.ear.heard]


@asynccontextmanager
async def looking(house: House) -> AsyncIterator[None]:
    looks = asyncio.create_task(house.outage.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        looks.cancel()
        await asyncio.wait({looks})


async def test_nobody_waits_while_the_store_answers() -> None:
    house = House()
    async with asyncio.timeout(1):
        await house.outage.turn()
    assert house.outage.answering


async def test_many_failures_are_one_outage_and_one_look_at_a_time_asks_for_all() -> None:
    house = House([False, False, True])
    for _ in range(5):
        house.outage.failed(DOWN)
    async with looking(house):
        waits = [asyncio.create_task(house.outage.turn()) for _ in range(50)]
        await waits[0]  # the others still wait: it has to show that the store can write
        assert not house.outage.answering
        house.outage.worked()
        await asyncio.gather(*waits)
    assert house.probe.asked == 3
    assert house.told() == [StoreLost, StoreBack]


async def test_a_store_that_fails_whoever_goes_first_keeps_the_others_waiting() -> None:
    house = House()
    house.outage.failed(DOWN)
    async with looking(house):
        waits = [asyncio.create_task(house.outage.turn()) for _ in range(3)]
        for number, wait in enumerate(waits[:2]):
            await wait
            house.outage.failed(DOWN)
            assert house.outage.waiting == 2 - number
        assert not house.outage.answering
    for wait in waits:
        wait.cancel()
    assert house.told() == [StoreLost]


async def test_who_went_first_and_had_nothing_to_write_holds_nobody_up() -> None:
    house = House()
    house.outage.failed(DOWN)
    async with looking(house):
        await asyncio.gather(*(house.outage.turn() for _ in range(10)))
        assert house.outage.answering
    assert house.probe.asked == 2


async def test_who_went_first_and_has_not_come_back_yet_is_waited_for() -> None:
    house, slow = House(), asyncio.Event()

    async def first() -> None:
        await house.outage.turn()
        house.outage.under_way += 1
        await slow.wait()
        house.outage.under_way -= 1
        house.outage.failed(DOWN)

    house.outage.failed(DOWN)
    trial = asyncio.create_task(first())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(house.outage.turn())
    async with looking(house):
        while house.probe.asked < 5:
            house.probe.news.clear()
            await house.probe.news.wait()
        assert not house.outage.answering
        assert not waiting.done()
        slow.set()
        await trial
        await waiting  # now it is its turn
        assert not house.outage.answering


async def test_an_answer_that_is_paid_for_goes_before_what_can_wait() -> None:
    house, order = House(), list[str]()

    async def wait(name: str, *, first: bool) -> None:
        await house.outage.turn(first=first)
        order.append(name)
        house.outage.worked()

    house.outage.failed(DOWN)
    tasks = [asyncio.create_task(wait("job", first=False))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(wait("answer", first=True)))
    await asyncio.sleep(0)
    async with looking(house):
        await asyncio.gather(*tasks)
    assert order == ["answer", "job"]


async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    house = House()
    house.outage.failed(DOWN)
    waits = [asyncio.create_task(house.outage.turn()) for _ in range(3)]
    await asyncio.sleep(0)
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    assert house.outage.waiting == 0


async def test_parts_that_follow_hear_of_both_ends_once() -> None:
    house, seen = House(), list[bool]()
    house.outage.follow(lambda: seen.append(house.outage.answering))
    house.outage.failed(DOWN)
    house.outage.failed(DOWN)
    house.outage.worked()
    house.outage.worked()
    assert seen == [False, True]


class Openings:
    """Stores that fail to open as told, in order; the last one opens."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.closed = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[str]:
        if self.errors:
            raise self.errors.pop(0)
        try:
            yield "open"
        finally:
            self.closed += 1


async def open_(openings: Openings, ear: Ear) -> str:
    async with AsyncExitStack() as resources:
        return await opened(openings, resources, clock=HandClock(), listener=ear, look_s=0.001)


async def test_a_start_waits_for_its_store_and_says_why_once() -> None:
    openings, ear = Openings(DOWN, DOWN, StoreUnavailable("full"), DOWN), Ear()
    assert await open_(openings, ear) == "open"
    told = [event.error for event in ear.heard if isinstance(event, StoreLost)]
    assert told == ["down", "full", "down"]
    assert isinstance(ear.heard[-1], StoreBack)
    assert openings.closed == 1


@pytest.mark.parametrize("error", [SettingsError(("newer",)), StoreUnusable("damaged")])
async def test_a_store_that_no_waiting_mends_ends_the_start(error: Exception) -> None:
    with pytest.raises(type(error)):
        await open_(Openings(DOWN, error), Ear())
