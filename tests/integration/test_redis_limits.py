"""The accounts' limits over a real Redis, on its own clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from tests.contract.redis_fleet import options_of
from tests.contract.world import HandClock
from tests.faults.room import RedisRoom
from worker.core.limits import SLOTS, Charge, Full, Meter, Taken
from worker.store.redis.connection import RedisConnection
from worker.store.redis.limits import RedisLimits
from worker.store.redis.scripts import Script

METER = "endpoint:alpha:tokens"
# Beside the slots: their range, their sum and the pace.
FACTS = 4


def tokens(amount: int, *, limit: int = 1000) -> Charge:
    return Charge(meter=Meter(name=METER, limit=limit), amount=amount)


@pytest.fixture
async def hosts(redis_room: RedisRoom) -> AsyncIterator[list[RedisLimits]]:
    """Two hosts' limits: neither has a clock of its own to be wrong about."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            connection = RedisConnection(options_of(redis_room))
            await connection.open()
            stack.push_async_callback(connection.close)
            made.append(RedisLimits(connection))
        yield made


def travel_twice(limits: RedisLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every operation arrive a second time, as after a connection that broke before its answer."""
    run = limits._connection.run

    async def twice(script: Script, *arguments: str | int | bytes) -> object:
        await run(script, *arguments)
        return await run(script, *arguments)

    monkeypatch.setattr(limits._connection, "run", twice)


async def test_two_hosts_share_one_minute_on_the_servers_clock(hosts: list[RedisLimits]) -> None:
    answers = await asyncio.gather(*(each.take([tokens(300)]) for each in hosts * 10))
    assert sum(isinstance(answer, Taken) for answer in answers) == 1
    waits = [answer.wait for answer in answers if isinstance(answer, Full)]
    assert all(timedelta() < wait <= timedelta(seconds=1) for wait in waits)


async def test_a_take_that_travels_twice_counts_once(
    hosts: list[RedisLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    travel_twice(first, monkeypatch)
    assert isinstance(await first.take([tokens(20)]), Taken)
    assert await total(second) == 20


async def test_a_settling_that_travels_twice_counts_once(
    hosts: list[RedisLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    others = await second.take([tokens(15)])
    mine = await first.take([tokens(10)])
    assert isinstance(mine, Taken)
    travel_twice(first, monkeypatch)
    await first.settle(mine, (2,))
    assert await total(second) == 17
    assert isinstance(others, Taken)
    await first.settle(others, (25,))
    assert await total(second) == 27


async def test_what_nobody_asks_for_is_forgotten(
    hosts: list[RedisLimits], redis_room: RedisRoom
) -> None:
    taken = await hosts[0].take([tokens(20)])
    assert isinstance(taken, Taken)
    key = hosts[0]._connection.key
    for _ in range(2):
        for name in (key("meter", METER), key("taken", str(taken.number))):
            left = redis_room.redis.ask("PTTL", name)
            assert isinstance(left, int)
            assert 62_000 < left <= 71_500
        await hosts[0].settle(taken, (1,))


async def test_a_meter_holds_no_more_than_what_counts(
    hosts: list[RedisLimits], redis_room: RedisRoom
) -> None:
    clock = HandClock()
    limits = RedisLimits(hosts[0]._connection, clock=clock)
    key = limits._connection.key("meter", METER)
    first = await limits.take([tokens(1, limit=100_000)])
    for number in range(3 * SLOTS):
        assert isinstance(await limits.take([tokens(1, limit=100_000)]), Taken)
        fields = redis_room.redis.ask("HLEN", key)
        assert fields == min(number + 1, SLOTS) + FACTS
        clock.pass_by(timedelta(seconds=0.5))
    assert isinstance(first, Taken)
    await limits.settle(first, (0,))
    assert redis_room.redis.ask("HLEN", key) == SLOTS - 1 + FACTS
    clock.pass_by(timedelta(minutes=1))
    assert isinstance(await limits.take([tokens(1, limit=100_000)]), Taken)
    values = redis_room.redis.ask("HVALS", key)
    assert isinstance(values, list)
    assert len(values) < 10


async def total(limits: RedisLimits) -> int:
    """Tell how much a meter counts."""
    name = limits._connection.key("meter", METER)
    return int(await limits._connection.command("HGET", name, "total"))
