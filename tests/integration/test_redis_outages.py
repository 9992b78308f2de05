"""A real Redis that is made unavailable: the store says so, and works again afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from stack.redis import Redis
from tests.contract.redis_fleet import RedisFleet, options_of
from tests.contract.world import Ear, complete, make_job
from tests.faults import stores
from tests.faults.proxy import Proxy
from tests.faults.room import RedisRoom
from worker.clock import SystemClock
from worker.core.model import Ended, Follow, Started
from worker.errors import StoreUnavailable
from worker.store.redis.options import RedisOptions
from worker.store.redis.store import RedisStore

SOON_S = 20
LEASE = RedisOptions().lease


@asynccontextmanager
async def open_store(room: RedisRoom, *, port: int | None = None) -> AsyncIterator[RedisStore]:
    options = replace(options_of(room), timeout=timedelta(seconds=0.3))
    if port is not None:
        options = replace(options, url=f"redis://127.0.0.1:{port}/0")
    async with RedisStore(options, clock=SystemClock(), listener=Ear()) as store:
        yield store


async def works(store: RedisStore, key: str) -> None:
    """Complete a job, as soon as the store can."""
    async with asyncio.timeout(SOON_S):
        while not await store.renew():  # noqa: ASYNC110  # nobody tells that it is back
            await asyncio.sleep(0.05)
    now = SystemClock().now()
    await complete(
        store.ledger,
        make_job(key, submitted_at=now, received_at=now, deadline=now + timedelta(hours=1)),
    )


@pytest.mark.parametrize("name", ["stopped", "killed", "without memory"])
async def test_a_redis_that_fails_is_unavailable_and_works_again_afterwards(
    redis_server: Redis, redis_room: RedisRoom, restart_redis: Callable[[], object], name: str
) -> None:
    fault = stores.redis_faults(redis_server, restart_redis)[name]
    async with open_store(redis_room) as store:
        await works(store, "before")
        async with fault():
            assert not await store.renew()  # so an outage that has begun does not end meanwhile
            with pytest.raises(StoreUnavailable):
                await complete(store.ledger, make_job("within"))
        await works(store, "after")
        assert isinstance(await store.ledger.find(make_job("before")), Ended)


async def test_a_distant_redis_is_slow_until_it_takes_longer_than_anybody_waits(
    redis_server: Redis, redis_room: RedisRoom
) -> None:
    async with (
        Proxy(redis_server.port) as way,
        open_store(redis_room, port=way.port) as store,
    ):
        async with stores.distant(way, 0.05):
            await works(store, "slow")
        async with stores.distant(way, 1.0):
            with pytest.raises(StoreUnavailable):
                await complete(store.ledger, make_job("within"))
        await works(store, "after")


async def test_nobody_is_taken_for_dead_because_the_server_was_away(
    redis_server: Redis, redis_room: RedisRoom
) -> None:
    fleet = RedisFleet(redis_room)
    caller, judge = await fleet.join(), await fleet.join()
    await caller.ledger.begin(make_job(), max_attempts=3)
    async with stores.without_memory(redis_server):
        assert not await judge.renew()
        fleet.clock.pass_by(4 * LEASE)
    # First the judge's own write comes through, before anybody's renewal; then its renewal.
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    assert await judge.renew()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(LEASE / 3)
    assert await caller.renew()
    fleet.clock.pass_by(LEASE * 0.9)
    assert await judge.renew()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    await fleet.close()


async def test_a_stopped_process_loses_its_claim_one_lease_after_the_server_is_back(
    redis_server: Redis, redis_room: RedisRoom
) -> None:
    fleet = RedisFleet(redis_room)
    stopped, judge = await fleet.join(), await fleet.join()
    await stopped.ledger.begin(make_job(), max_attempts=3)
    async with stores.without_memory(redis_server):
        assert not await judge.renew()
        fleet.clock.pass_by(4 * LEASE)
    assert await judge.renew()
    fleet.clock.pass_by(LEASE - timedelta(seconds=1))
    assert await judge.renew()
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Follow)
    fleet.clock.pass_by(timedelta(seconds=2))
    assert isinstance(await judge.ledger.begin(make_job(), max_attempts=3), Started)
    await fleet.close()
