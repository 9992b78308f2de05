import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.contract.world import Ear
from worker import background
from worker.core.events import Trouble


async def test_a_part_that_fails_is_told_and_started_again_and_ends_with_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_RESTART_S", 0)
    starts, ear, third = 0, Ear(), asyncio.Event()

    async def part() -> None:
        nonlocal starts
        starts += 1
        if starts == 3:
            third.set()
            await asyncio.Event().wait()
        raise KeyError("bug")

    async with AsyncExitStack() as resources:
        background.background(resources, ear, part, "a part")
        await asyncio.wait_for(third.wait(), 5)
    assert starts == 3
    assert [event.about for event in ear.heard if isinstance(event, Trouble)] == ["a part"] * 2


async def test_a_part_that_has_done_its_work_is_not_started_again() -> None:
    starts, ear = 0, Ear()

    async def part() -> None:
        nonlocal starts
        starts += 1

    async with AsyncExitStack() as resources:
        background.background(resources, ear, part, "a part")
        await asyncio.sleep(0.01)
    assert (starts, ear.heard) == (1, [])


async def test_a_part_that_swallows_a_cancellation_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_CANCEL_AGAIN_S", 0.01)
    swallowed = 0

    async def part() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    async with asyncio.timeout(5), AsyncExitStack() as resources:
        background.background(resources, Ear(), part, "a part")
        await asyncio.sleep(0)
    assert swallowed == 3
