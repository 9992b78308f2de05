"""The `Limits` port over the embedded file: one row for each meter."""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import apsw

from worker.core.limits import (
    SLOTS,
    Charge,
    Full,
    Level,
    Taken,
    aged,
    counted,
    longest,
    settled,
    wait_us,
)
from worker.ports import Clock
from worker.store.embedded.file import EmbeddedFile
from worker.store.instants import to_us

_AMOUNTS: Final = Struct(f"<{SLOTS}q")
_UNUSED: Final = Level()


class EmbeddedLimits:
    """Counts what is used of the accounts' limits, over all worker processes of the host and their restarts.

    Time is the wall clock, so that a reboot forgets nothing.
    """

    def __init__(self, file: EmbeddedFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        """Count all charges, or none and say how long to wait; see `Limits.take`."""
        if not charges:
            return Taken()
        return await self._file.run(
            lambda connection: _take(connection, charges, to_us(self._clock.now()))
        )

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used; see `Limits.settle`."""
        slot = taken.slot
        changed = [
            (charge, amount)
            for charge, amount in zip(taken.charges, amounts, strict=True)
            if amount != charge.amount
        ]
        if slot is not None and changed:
            await self._file.run(
                lambda connection: _settle(connection, changed, slot, to_us(self._clock.now()))
            )


def _take(connection: apsw.Connection, charges: Sequence[Charge], now: int) -> Taken | Full:
    levels = [_level(connection, charge, now) for charge in charges]
    waits = [wait_us(level, charge, now) for level, charge in zip(levels, charges, strict=True)]
    full = longest(waits, charges)
    if full is not None:
        return full
    for level, charge in zip(levels, charges, strict=True):
        _keep(connection, charge, counted(level, charge, now))
    return Taken(charges=tuple(charges), slot=levels[0].newest)


def _settle(
    connection: apsw.Connection, changed: Sequence[tuple[Charge, int]], slot: int, now: int
) -> None:
    for charge, amount in changed:
        level = _level(connection, charge, now)
        _keep(connection, charge, settled(level, charge, amount, slot))


def _level(connection: apsw.Connection, charge: Charge, now: int) -> Level:
    row = connection.execute(
        "SELECT newest, paced_until, amounts FROM meters WHERE name = ?", (charge.meter.name,)
    ).fetchone()
    if row is None:
        return aged(_UNUSED, now)
    newest, paced_until, amounts = row
    level = aged(
        Level(newest=newest, paced_until=paced_until, amounts=_AMOUNTS.unpack(amounts)), now
    )
    if (
        level.newest < newest
    ):  # the clock was put back; else it would count as of now again and again
        _keep(connection, charge, level)
    return level


def _keep(connection: apsw.Connection, charge: Charge, level: Level) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO meters (name, newest, paced_until, amounts) VALUES (?, ?, ?, ?)",
        (charge.meter.name, level.newest, level.paced_until, _AMOUNTS.pack(*level.amounts)),
    )
