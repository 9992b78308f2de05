"""The `Limits` port over the embedded file: one row for each meter."""

import struct
from collections.abc import Sequence
from typing import ClassVar, Final

import apsw

from worker.core.limits import (
    NOTHING_TAKEN,
    SLOTS,
    Charge,
    Full,
    Level,
    Taken,
    Used,
    aged,
    counted,
    longest,
    settled,
    wait_us,
)
from worker.ports import Clock
from worker.store.embedded.books import Books
from worker.store.embedded.file import EmbeddedFile
from worker.store.instants import to_us

_AMOUNTS: Final = struct.Struct(f"<{SLOTS}q")
_MOST: Final = (1 << 63) - 1
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
        return await self._file.join(
            lambda books: _take(books, tuple(charges), to_us(self._clock.now()))
        )

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used; see `Limits.settle`."""
        if taken.slot is not None:
            await self._file.join(
                lambda books: settle(books, Used(taken, amounts), to_us(self._clock.now()))
            )


class _Meters:
    """The page of the meters: a few rows, which every call changes."""

    lasts: ClassVar = True

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._levels: dict[str, Level] = {}
        self._changed: dict[str, Level] = {}

    def level(self, charge: Charge, now: int) -> Level:
        """Give what a charge's meter has counted, as it is now."""
        name = charge.meter.name
        level = self._levels.get(name)
        if level is None:
            row = self._connection.execute(
                "SELECT newest, paced_until, amounts FROM meters WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return aged(_UNUSED, now)
            newest, paced_until, amounts = row
            level = self._levels[name] = Level(
                newest=newest, paced_until=paced_until, amounts=_AMOUNTS.unpack(amounts)
            )
        aging = aged(level, now)
        if aging.newest < level.newest:
            # The clock was put back; else it would count as of now again and again.
            self.keep(charge, aging)
        return aging

    def keep(self, charge: Charge, level: Level) -> None:
        """Change what a charge's meter has counted."""
        self._levels[charge.meter.name] = self._changed[charge.meter.name] = level

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        self._levels = {}

    def write(self) -> None:
        """Write what was changed."""
        if self._changed:
            self._connection.executemany(
                "INSERT OR REPLACE INTO meters (name, newest, paced_until, amounts) VALUES (?, ?, ?, ?)",
                [
                    (name, level.newest, level.paced_until, _packed(level.amounts))
                    for name, level in self._changed.items()
                ],
            )
            self._changed = {}


def _packed(amounts: Sequence[int]) -> bytes:
    try:
        return _AMOUNTS.pack(*amounts)
    except struct.error:
        # Only an upstream that lies tells of so many, and no limit is that high: the record of its call must not fail for it.
        return _AMOUNTS.pack(*(min(amount, _MOST) for amount in amounts))


def room(books: Books, charges: Sequence[Charge], now: int) -> list[Level] | Full:
    """Give the meters' levels if all charges fit, to be counted in the same transaction, or how long to wait."""
    meters = books.page(_Meters)
    levels = [meters.level(charge, now) for charge in charges]
    waits = [wait_us(level, charge, now) for level, charge in zip(levels, charges, strict=True)]
    return longest(waits, charges) or levels


def count(books: Books, charges: tuple[Charge, ...], levels: list[Level], now: int) -> Taken:
    """Count charges for which there is room."""
    if not charges:
        return NOTHING_TAKEN
    meters = books.page(_Meters)
    for level, charge in zip(levels, charges, strict=True):
        meters.keep(charge, counted(level, charge, now))
    return Taken(charges=charges, slot=levels[0].newest)


def _take(books: Books, charges: tuple[Charge, ...], now: int) -> Taken | Full:
    levels = room(books, charges, now)
    return levels if isinstance(levels, Full) else count(books, charges, levels, now)


def settle(books: Books, used: Used, now: int) -> None:
    """Count what was really used, in the transaction of these books; see `Limits.settle`."""
    taken, meters = used.taken, books.page(_Meters)
    if taken.slot is None:
        return
    for charge, amount in zip(taken.charges, used.amounts, strict=True):
        if amount != charge.amount:
            level = meters.level(charge, now)
            meters.keep(charge, settled(level, charge, amount, taken.slot))
