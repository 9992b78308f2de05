import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from worker.slots import LaneSlots, Slots


class Room:
    """Tasks that are in the slots until they are let go."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.inside = 0
        self.leave = asyncio.Event()

    async def stay(self) -> None:
        async with self.slots:
            self.inside += 1
            try:
                await self.leave.wait()
            finally:
                self.inside -= 1


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def room() -> Room:
    return Room(Slots(2))


async def test_so_many_are_inside_and_the_rest_wait_in_their_order(room: Room) -> None:
    tasks = [asyncio.create_task(room.stay()) for _ in range(5)]
    await turns()
    assert room.inside == 2
    assert room.slots.locked()
    room.leave.set()
    await asyncio.gather(*tasks)
    assert not room.slots.locked()


async def test_made_larger_it_lets_those_who_wait_in(room: Room) -> None:
    tasks = [asyncio.create_task(room.stay()) for _ in range(5)]
    await turns()
    room.slots.resize(4)
    await turns()
    assert room.inside == 4
    room.leave.set()
    await asyncio.gather(*tasks)


async def test_made_smaller_it_lets_nobody_in_until_enough_have_left(room: Room) -> None:
    first = [asyncio.create_task(room.stay()) for _ in range(2)]
    await turns()
    room.slots.resize(1)
    waiting = asyncio.create_task(room.stay())
    first[0].cancel()
    await turns()
    assert room.inside == 1
    first[1].cancel()
    await turns()
    assert room.inside == 1
    waiting.cancel()
    await asyncio.gather(*first, waiting, return_exceptions=True)
    assert not room.slots.locked()


async def test_who_is_cancelled_while_waiting_or_just_let_in_takes_no_slot(room: Room) -> None:
    inside = [asyncio.create_task(room.stay()) for _ in range(2)]
    await turns()
    waiting = [asyncio.create_task(room.stay()) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    inside[0].cancel()
    inside[1].cancel()
    await asyncio.sleep(0)  # the slots are handed on now
    waiting[1].cancel()
    await turns()
    assert room.inside <= 1
    waiting[2].cancel()
    for task in (*inside, *waiting):
        with suppress(asyncio.CancelledError):
            await task
    assert not room.slots.locked()
    async with room.slots, room.slots:
        assert room.slots.locked()


async def test_followers_get_half_also_after_a_change() -> None:
    slots = LaneSlots.of(4, timedelta(minutes=1))
    slots.resize(10)
    assert (slots.calls.size, slots.followers.size) == (10, 5)
