"""The `Spend` port over Redis, and the operators' side of it: sums are texts, and the scripts add them digit by digit."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from worker.core.money import whole
from worker.core.spend import KEPT, Cap, Counted, OverBudget, Pot, Reserved, counted, over
from worker.errors import StoreUnavailable
from worker.ports import Clock
from worker.store.instants import to_us
from worker.store.redis.connection import RedisConnection, heed
from worker.store.redis.direct import direct
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script, read

_RESERVE: Final = Script.of(read("money"), read("reserve"))
_MILLISECOND: Final = timedelta(milliseconds=1)
_SETTLE: Final = Script.of(read("money"), read("spent"))


class RedisSpend:
    """Counts money against budgets, over all worker processes of all hosts and their restarts.

    The pot is that of the process's clock: a host whose clock is wrong spends another day's money, never more of it.
    """

    def __init__(self, connection: RedisConnection, *, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        """Count the amount against all of the caps, or against none and say which is over."""
        now = self._clock.now()
        pots = [Pot.of(cap.account, cap.per, now) for cap in caps]
        lives = [(pot.ends + KEPT - now) // _MILLISECOND for pot in pots]
        given, *taken = await self._connection.run(
            _RESERVE,
            *(reservation, str(whole(amount)), to_us(now) // 1000, max(lives, default=1)),
            *(
                part
                for cap, pot, life in zip(caps, pots, lives, strict=True)
                for part in (pot.key, str(whole(cap.usd)), life)
            ),
        )
        if given:
            return Reserved(name=reservation, amount=amount)
        full = over(
            caps, list(zip(map(int, taken[::2]), map(int, taken[1::2]), strict=True)), amount, now
        )
        if full is None:
            raise StoreUnavailable("the Redis counts money otherwise than this worker")
        return full

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        """Count what was really spent instead of what was reserved; None: what was reserved."""
        await self.submit(reserved, amount)

    def submit(self, reserved: Reserved, amount: Decimal | None) -> asyncio.Future[Any]:
        """Ask for what was really spent to be counted. Errors: as `RedisConnection.run`."""
        spent = "" if amount is None else str(whole(amount))
        settling = self._connection.submit(_SETTLE, reserved.name, spent)
        settling.add_done_callback(heed)  # who waits for it may have failed before
        return settling


class RedisSpendBook:
    """The operators' side: reads the workers' Redis, also while no worker runs. Errors: `StoreUnavailable`."""

    def __init__(self, options: RedisOptions) -> None:
        self._options = options

    def standing(self) -> Sequence[Counted]:
        """Give what stands in every pot that is kept, sorted by the pots' names."""
        with direct(self._options) as redis:
            names = sorted(redis.command("ZRANGE", redis.key("pots"), 0, -1))
            sums = redis.commands(
                [("HMGET", redis.key("pot", name.decode()), "spent", "reserved") for name in names]
            )
        return [
            counted(name.decode(), int(spent or 0), int(reserved or 0))
            for name, (spent, reserved) in zip(names, sums, strict=True)
            if spent is not None or reserved is not None
        ]
