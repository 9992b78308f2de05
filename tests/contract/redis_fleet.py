"""A fleet of worker processes on one Redis, for the contract suites."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from tests.contract.world import SMALL_ENTRY, SMALL_TOTAL, Ear, HandClock, Worker
from tests.faults.room import RedisRoom
from worker.core.lanes import Orders
from worker.store.redis.archive import RedisArchive
from worker.store.redis.direct import direct
from worker.store.redis.encoding import CHECKSUM_BYTES
from worker.store.redis.laneorders import RedisOrderBook
from worker.store.redis.options import RedisOptions
from worker.store.redis.spend import RedisSpendBook
from worker.store.redis.store import RedisStore


def options_of(room: RedisRoom, *, small: bool = False) -> RedisOptions:
    """Give what leads to a room; `small`: with the suites' small cache."""
    usual = RedisOptions()
    return RedisOptions(
        url=room.url,
        password=room.password,
        prefix=room.prefix,
        timeout=timedelta(seconds=10),
        cache_bytes=SMALL_TOTAL if small else usual.cache_bytes,
        cache_entry_bytes=SMALL_ENTRY if small else usual.cache_entry_bytes,
    )


class RedisFleet:
    """Several worker processes' stores on one Redis; the fleet's clock stands in for the server's."""

    def __init__(self, room: RedisRoom) -> None:
        self.clock = HandClock()
        self.ear = Ear()
        self._room = room
        self._living: list[RedisStore] = []

    async def join(self, *, small: bool = False) -> RedisStore:
        store = RedisStore(
            options_of(self._room, small=small),
            clock=self.clock,
            listener=self.ear,
            trust_clock=True,
        )
        await store.open()
        self._living.append(store)
        return store

    async def kill(self, worker: Worker) -> None:
        """Let a process die, and its lease run out at once."""
        assert isinstance(worker, RedisStore)
        self._living.remove(worker)
        for task in worker._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await worker._listening.close()
        await worker.ledger.close()
        await worker.connection.close()
        with direct(options_of(self._room)) as redis:
            redis.command("ZREM", redis.key("owners"), worker.owner)

    def archive(self) -> RedisArchive:
        return RedisArchive(options_of(self._room))

    def spend_book(self) -> RedisSpendBook:
        return RedisSpendBook(options_of(self._room))

    async def damage_responses(self) -> None:
        with direct(options_of(self._room)) as redis:
            for key in redis.command("KEYS", redis.key("cache", "=*").replace("{", "[{]")):
                redis.command("SETRANGE", key, redis.command("STRLEN", key) - 1, b"\x00")
            for key in redis.command("KEYS", redis.key("body", "*").replace("{", "[{]")):
                redis.command("SETRANGE", key, CHECKSUM_BYTES, b"\x00")

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
        for store in self._living:
            await store.close()
