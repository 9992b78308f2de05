"""The simulated loop keeps asyncio's promises, and breaks what only looks like one."""

import asyncio
from functools import partial
from random import Random

import pytest

from tests.simulation.loop import SimulatedLoop
from tests.simulation.tasks import PROCESS, DeadlockError, RunawayError


class Somebody:
    def __init__(self, *, orderly: bool = False) -> None:
        self.name = "somebody"
        self.alive = True
        self.orderly = orderly
        self.held: list[asyncio.Handle] | None = None
        self.steps_left = -1

    def meet_fate(self) -> None:
        self.alive = False


def loop(seed: int = 1) -> SimulatedLoop:
    return SimulatedLoop(Random(seed), latest=10_000)  # noqa: S311  # chance that can be repeated


async def _race(started: list[int]) -> list[int]:
    order: list[int] = []

    async def walk(number: int) -> None:
        started.append(number)
        await asyncio.sleep(0)
        order.append(number)

    await asyncio.gather(*(walk(number) for number in range(6)))
    return order


def test_a_long_sleep_takes_no_time_and_moves_the_clock() -> None:
    simulated = loop()

    async def sleep() -> float:
        began = simulated.time()
        await asyncio.sleep(3600)
        return simulated.time() - began

    assert simulated.run(sleep()) == 3600


def test_tasks_interleave_by_seed_and_the_same_seed_is_the_same_order() -> None:
    orders = {seed: tuple(loop(seed).run(_race([]))) for seed in range(20)}
    assert len(set(orders.values())) > 5
    assert all(tuple(loop(seed).run(_race([]))) == order for seed, order in orders.items())


def test_an_orderly_process_runs_first_come_first_served() -> None:
    for seed in range(20):
        simulated = loop(seed)
        simulated.world.run(PROCESS.set, Somebody(orderly=True))
        assert simulated.run(_race([])) == list(range(6))


def test_the_callbacks_of_one_future_run_in_their_order() -> None:
    async def resolve() -> list[int]:
        future = asyncio.get_running_loop().create_future()
        order: list[int] = []
        for number in range(6):
            future.add_done_callback(partial(_note, order, number))
        future.set_result(None)
        await asyncio.sleep(1)
        return order

    for seed in range(20):
        assert loop(seed).run(resolve()) == list(range(6))


def _note(order: list[int], number: int, _: object) -> None:
    order.append(number)


def test_a_dead_process_stops_where_it_is_without_cleaning_up() -> None:
    simulated, somebody, done = loop(), Somebody(), []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            done.append("cleaned up")

    async def watch() -> list[str]:
        context = simulated.world.copy()
        context.run(PROCESS.set, somebody)
        simulated.create_task(work(), context=context)
        await asyncio.sleep(1)
        somebody.meet_fate()
        await asyncio.sleep(60)
        return list(done)

    assert simulated.run(watch()) == []


def test_a_suspended_process_goes_on_where_it_was_when_it_is_released() -> None:
    simulated, somebody, woke = loop(), Somebody(), []

    async def work() -> None:
        await asyncio.sleep(5)
        woke.append(simulated.time())

    async def watch() -> None:
        context = simulated.world.copy()
        context.run(PROCESS.set, somebody)
        simulated.create_task(work(), context=context)
        await asyncio.sleep(1)
        somebody.held = []
        await asyncio.sleep(60)
        held, somebody.held = somebody.held, None
        simulated.release(held)
        await asyncio.sleep(1)

    simulated.run(watch())
    assert woke == [1061]


def test_a_loop_with_nothing_to_come_says_so_instead_of_hanging() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        loop().run(wait())


def test_a_loop_that_turns_in_circles_is_ended() -> None:
    async def turn() -> None:
        while True:  # noqa: ASYNC110  # it is to turn in circles
            await asyncio.sleep(1)  # no event: it is to go on for ever

    with pytest.raises(RunawayError):
        loop().run(turn())
