"""The rations over a real Redis, on its own clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.contract.redis_fleet import options_of
from tests.faults.room import RedisRoom
from worker.core.rations import NoPermit, Permit
from worker.store.redis.connection import RedisConnection
from worker.store.redis.rationing import RedisRationing
from worker.store.redis.scripts import Script

LANE = "small.bulk"


@pytest.fixture
async def hosts(redis_room: RedisRoom) -> AsyncIterator[list[RedisRationing]]:
    """Two hosts' rationing: neither has a clock of its own to be wrong about."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            connection = RedisConnection(options_of(redis_room))
            await connection.open()
            stack.push_async_callback(connection.close)
            made.append(RedisRationing(connection))
        yield made


async def test_two_hosts_share_one_minute_on_the_servers_clock(hosts: list[RedisRationing]) -> None:
    answers = await asyncio.gather(*(each.permit(LANE, per_minute=90) for each in hosts * 10))
    assert sum(isinstance(answer, Permit) for answer in answers) == 3
    waits = [answer.wait.total_seconds() for answer in answers if isinstance(answer, NoPermit)]
    assert all(1 < wait <= 2 for wait in waits)


async def test_a_question_that_travels_twice_counts_once(
    hosts: list[RedisRationing], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    run = first._connection.run

    async def twice(script: Script, *arguments: str | int | bytes) -> object:
        await run(script, *arguments)
        return await run(script, *arguments)

    monkeypatch.setattr(first._connection, "run", twice)
    assert isinstance(await first.permit(LANE, per_minute=60), Permit)
    assert isinstance(await second.permit(LANE, per_minute=60), Permit)
    assert isinstance(await second.permit(LANE, per_minute=60), NoPermit)


async def test_what_nobody_asks_for_is_forgotten(
    hosts: list[RedisRationing], redis_room: RedisRoom
) -> None:
    await hosts[0].permit(LANE, per_minute=60)
    left = redis_room.redis.ask("PTTL", hosts[0]._connection.key("permits", LANE))
    assert isinstance(left, int)
    assert 110_000 < left <= 120_000
