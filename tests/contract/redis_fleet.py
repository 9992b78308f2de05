"""A fleet of worker processes on one Redis, for the contract suites of all ports but the ledger."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.conftest import RedisRoom
from tests.contract.world import SMALL_ENTRY, SMALL_TOTAL, Ear, HandClock
from worker.core.lanes import Orders
from worker.store.redis.cache import RedisCache
from worker.store.redis.connection import RedisConnection
from worker.store.redis.direct import direct
from worker.store.redis.laneorders import RedisLaneOrders, RedisOrderBook
from worker.store.redis.options import RedisOptions
from worker.store.redis.rationing import RedisRationing


def options_of(room: RedisRoom, *, small: bool = False) -> RedisOptions:
    """Give what leads to a room; `small`: with the suites' small cache."""
    usual = RedisOptions()
    return RedisOptions(
        url=room.url,
        password=room.password,
        prefix=room.prefix,
        timeout=timedelta(seconds=2),
        cache_bytes=SMALL_TOTAL if small else usual.cache_bytes,
        cache_entry_bytes=SMALL_ENTRY if small else usual.cache_entry_bytes,
    )


class RedisParts:
    """One worker process's cache, lane orders and rations."""

    def __init__(self, options: RedisOptions, *, clock: HandClock, listener: Ear) -> None:
        self.connection = RedisConnection(options)
        self.cache = RedisCache(self.connection, clock=clock, listener=listener, options=options)
        self.rationing = RedisRationing(self.connection, clock=clock)
        self.lane_orders = RedisLaneOrders(self.connection)

    async def sweep(self) -> None:
        while await self.cache.bury():
            pass


class RedisPartsFleet:
    """Several such processes on one Redis."""

    def __init__(self, room: RedisRoom) -> None:
        self.clock = HandClock()
        self.ear = Ear()
        self._room = room
        self._living: list[RedisParts] = []

    async def join(self, *, small: bool = False) -> RedisParts:
        parts = RedisParts(options_of(self._room, small=small), clock=self.clock, listener=self.ear)
        await parts.connection.open()
        self._living.append(parts)
        return parts

    async def kill(self, worker: RedisParts) -> None:
        self._living.remove(worker)
        await worker.connection.close()

    async def damage_responses(self) -> None:
        with direct(options_of(self._room)) as redis:
            for key in redis.command("KEYS", redis.key("cache", "=*").replace("{", "[{]")):
                redis.command("HSET", key, "body", b"\x00")

    async def spoil_windows(self) -> None:
        """Let every window name a time zone that nobody has."""
        with direct(options_of(self._room)) as redis:
            for lane in redis.command("HKEYS", redis.key("lanes")):
                facts = json.loads(redis.command("HGET", redis.key("lanes"), lane))
                if facts["windows"] is not None:
                    facts["windows"] = ["22:00-06:00 Mars/Olympus"]
                redis.command("HSET", redis.key("lanes"), lane, json.dumps(facts))

    async def permits(self, lane: str) -> int:
        """Tell how many starts of a lane are kept."""
        with direct(options_of(self._room)) as redis:
            return int(redis.command("ZCARD", redis.key("permits", lane)))

    def change(self, lane: str, to: Callable[[Orders], Orders], *, now: datetime) -> None:
        RedisOrderBook(options_of(self._room)).change(lane, to, now=now)

    def order(self, lane: str, orders: Orders, *, now: datetime) -> None:
        self.change(lane, lambda _: orders, now=now)

    async def close(self) -> None:
        for parts in self._living:
            await parts.connection.close()
