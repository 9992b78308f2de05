"""The `LaneOrders` port over Redis, and the operators' side of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from worker.core.lanes import NO_ORDERS, Orders
from worker.errors import StoreUnavailable
from worker.store.instants import to_us
from worker.store.orders import texts, with_windows
from worker.store.redis.connection import RedisConnection
from worker.store.redis.direct import direct
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script, read

_LANES: Final = "lanes"
_ORDER: Final = Script.of(read("order"))
# Operators are people: so many who come between two steps of one are none.
_MOST_RIVALS: Final = 100


class RedisLaneOrders:
    """What operators want of the lanes, as the workers read it."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand."""
        return _read(await self._connection.command("HGETALL", self._connection.key(_LANES)))


class RedisOrderBook:
    """The operators' side: reads and writes orders in the workers' Redis, also while no worker runs.

    Errors: `StoreUnavailable`.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options

    def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand."""
        with direct(self._options) as redis:
            return _read(redis.command("HGETALL", redis.key(_LANES)))

    def change(self, lane: str, change: Callable[[Orders], Orders], *, now: datetime) -> None:
        """Let other orders stand for the lane, made of those that stand: nobody's change is lost between the two."""
        with direct(self._options) as redis:
            for _ in range(_MOST_RIVALS):
                found: bytes = redis.command("HGET", redis.key(_LANES), lane) or b""
                orders = change(_orders(found) if found else NO_ORDERS)
                if redis.run(_ORDER, lane, found, _written(orders, now)):
                    return
        raise StoreUnavailable(f"the orders of {lane} change all the time; try again")

    def started(self, lane: str, *, since: datetime) -> int:
        """Tell how many calls the lane has started since then, within its last minute; 0 without a ration."""
        with direct(self._options) as redis:
            return int(redis.command("ZCOUNT", redis.key("permits", lane), to_us(since), "+inf"))


def _read(found: Sequence[bytes]) -> Mapping[str, Orders]:
    """Give the orders of names and values in turn."""
    return {
        name.decode(): _orders(value) for name, value in zip(found[::2], found[1::2], strict=True)
    }


def _orders(text: bytes) -> Orders:
    facts = json.loads(text)
    return with_windows(
        Orders(
            paused=facts["paused"],
            reason=facts["reason"],
            concurrency=facts["concurrency"],
            per_minute=facts["per_minute"],
        ),
        facts["windows"],
    )


def _written(orders: Orders, now: datetime) -> str:
    return json.dumps(
        {
            "paused": orders.paused,
            "reason": orders.reason,
            "concurrency": orders.concurrency,
            "per_minute": orders.per_minute,
            "windows": texts(orders.windows),
            "changed_at": to_us(now),
        }
    )
