"""The `Limits` port over Redis: one hash for each meter, on the server's clock."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Final

from worker.core.limits import (
    AHEAD_US,
    LONGEST_US,
    SLOT_US,
    SLOTS,
    Charge,
    Full,
    Taken,
    allowed,
    longest,
    pace,
    pace_change,
)
from worker.ports import Clock
from worker.store.instants import to_us
from worker.store.redis.connection import RedisConnection, heed
from worker.store.redis.scripts import Script, read

# Longer than anything counts: what nobody asks for is forgotten, and so is which takes have been counted and settled.
_KEPT_MS: Final = (SLOTS + 20) * SLOT_US // 1000
_TAKE: Final = Script.of(read("meters"), read("take"))
_SETTLE: Final = Script.of(read("meters"), read("settle"))
_NUMBER_BITS: Final = 63


class RedisLimits:
    """Counts what is used of the accounts' limits, over all worker processes of all hosts and their restarts.

    Time is the server's: hosts whose clocks differ share one minute. `clock` takes its place in tests.
    """

    def __init__(self, connection: RedisConnection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        """Count all charges, or none and say how long to wait; see `Limits.take`."""
        if not charges:
            return Taken()
        # Its own number, so that a question that travels twice counts once.
        number = secrets.randbits(_NUMBER_BITS)
        asked = [
            part
            for charge in charges
            for part in (charge.meter.name, allowed(charge), charge.amount, pace(charge))
        ]
        slot, *waits = await self._connection.run(_TAKE, *self._ground(number), *asked)
        full = longest(waits, charges)
        return full or Taken(charges=tuple(charges), slot=slot, number=number)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used; see `Limits.settle`."""
        if (settling := self.submit(taken, amounts)) is not None:
            await settling

    def submit(self, taken: Taken, amounts: Sequence[int]) -> asyncio.Future[Any] | None:
        """Ask for what was really used to be counted; None: it is as it was. Errors: as `RedisConnection.run`.

        Nobody need hear how it ends.
        """
        changes = [
            part
            for charge, amount in zip(taken.charges, amounts, strict=True)
            if amount != charge.amount
            for part in (charge.meter.name, amount - charge.amount, pace_change(charge, amount))
        ]
        if taken.slot is None or not changes:
            return None
        settling = self._connection.submit(
            _SETTLE, *self._ground(taken.number), taken.slot, *changes
        )
        settling.add_done_callback(heed)
        return settling

    def _ground(self, number: int) -> tuple[int | str, ...]:
        now = "" if self._clock is None else to_us(self._clock.now())
        return (number, now, _KEPT_MS, SLOT_US, SLOTS, AHEAD_US, LONGEST_US)
