"""The response cache over a real Redis: what holds beside the contract."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.redis_fleet import RedisFleet
from tests.contract.world import ANSWER
from tests.faults.room import RedisRoom
from worker.core.events import Trouble
from worker.store.redis.store import RedisStore


@pytest.fixture
async def fleet(redis_room: RedisRoom) -> AsyncIterator[RedisFleet]:
    made = RedisFleet(redis_room)
    yield made
    await made.close()


@pytest.fixture
async def worker(fleet: RedisFleet) -> RedisStore:
    return await fleet.join(small=True)


async def entries(worker: RedisStore) -> dict[str, int]:
    """Give how much of each kind is kept, and what all entries are believed to take."""
    connection = worker.connection
    return {
        "sizes": await connection.command("HLEN", connection.key("cache", "sizes")),
        "used": await connection.command("ZCARD", connection.key("cache", "used")),
        "until": await connection.command("ZCARD", connection.key("cache", "until")),
        "bytes": int(await connection.command("HGET", connection.key("cache", "sizes"), "") or 0),
    }


async def test_the_server_itself_lets_an_entry_expire(worker: RedisStore) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    key = worker.connection.key("cache", "=acme:c1")
    left = await worker.connection.command("PTTL", key)
    assert timedelta(hours=23) < timedelta(milliseconds=left) <= timedelta(hours=24)


async def test_an_entry_put_again_and_again_is_counted_once(worker: RedisStore) -> None:
    for number in range(5):
        await worker.cache.put("acme:c1", replace(ANSWER, body=b"x" * 100 * (number + 1)))
    counted = await entries(worker)
    assert counted == {"sizes": 2, "used": 1, "until": 1, "bytes": 500 + len("acme:c1")}


async def test_what_has_expired_is_forgotten_with_the_next_put_and_with_a_sweep(
    fleet: RedisFleet, worker: RedisStore
) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    fleet.clock.pass_by(timedelta(hours=25))
    await worker.cache.put("acme:c2", ANSWER)
    assert (await entries(worker))["used"] == 1
    fleet.clock.pass_by(timedelta(hours=25))
    await worker.sweep()
    assert await entries(worker) == {"sizes": 1, "used": 0, "until": 0, "bytes": 0}


async def test_the_count_stays_right_when_the_server_dropped_an_entry_first(
    worker: RedisStore,
) -> None:
    await worker.cache.put("acme:c1", replace(ANSWER, body=b"x" * 1000))
    await worker.connection.command("DEL", worker.connection.key("cache", "=acme:c1"))
    assert await worker.cache.get("acme:c1") is None
    await worker.cache.put("acme:c1", replace(ANSWER, body=b"y" * 10))
    assert (await entries(worker))["bytes"] == 10 + len("acme:c1")


async def test_a_redis_without_memory_left_keeps_nothing_and_fails_no_job(
    fleet: RedisFleet, worker: RedisStore, redis_room: RedisRoom
) -> None:
    redis_room.redis.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        await worker.cache.put("acme:c1", ANSWER)
        assert await worker.cache.get("acme:c1") is None
    finally:
        redis_room.redis.ask("CONFIG", "SET", "maxmemory", "512mb")
    (told,) = fleet.ear.heard
    assert isinstance(told, Trouble)
    assert "maxmemory" in told.error


@pytest.mark.parametrize("head", [b"", b"no json\n", b"[1, 2]\n", b"\xff"])
async def test_an_entry_whose_head_is_damaged_is_a_miss_and_is_dropped(
    fleet: RedisFleet, worker: RedisStore, head: bytes
) -> None:
    await worker.cache.put("acme:c1", ANSWER)
    connection = worker.connection
    await connection.command("SET", connection.key("cache", "=acme:c1"), head)
    assert await worker.cache.get("acme:c1") is None
    assert [type(event) for event in fleet.ear.heard] == [Trouble]
    assert (await entries(worker))["bytes"] == 0


async def test_a_redis_that_is_gone_is_a_miss(fleet: RedisFleet, worker: RedisStore) -> None:
    await worker.connection.close()
    assert await worker.cache.get("acme:c1") is None
    await worker.cache.put("acme:c1", ANSWER)
    assert [type(event) for event in fleet.ear.heard] == [Trouble, Trouble]
