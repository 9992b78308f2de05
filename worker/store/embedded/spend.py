"""The `Spend` port over the embedded file, and the operators' side of it: sums are texts, and Python adds them."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import apsw

from worker.core.money import whole
from worker.core.spend import (
    KEPT,
    Account,
    Cap,
    Counted,
    OverBudget,
    Per,
    Pot,
    Reserved,
    counted,
    over,
)
from worker.core.terms import Reservation
from worker.ports import Clock
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books
from worker.store.embedded.connection import connect, unavailable
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.rows import LISTED
from worker.store.instants import to_us

_RESERVE: Final = (
    "INSERT OR IGNORE INTO reservations (name, amount, pots, expires_at) VALUES (?, ?, ?, ?)"
)
# For so many the names of pots are kept at hand.
_MANY: Final = 1024


class EmbeddedSpend:
    """Counts money against budgets, over all worker processes of the host and their restarts."""

    def __init__(self, file: EmbeddedFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        """Count the amount against all of the caps, or against none and say which is over."""
        now, wanted = self._clock.now(), Reservation(name=reservation, caps=caps, amount=amount)
        return await self._file.join(lambda books: _reserve(books, wanted, now))

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        """Count what was really spent instead of what was reserved; None: what was reserved."""
        await self._file.join(lambda books: settle(books, reserved.name, amount))


class EmbeddedSpendBook:
    """The operators' side: reads the workers' file, also while no worker runs.

    Errors: `StoreUnavailable`, and `SettingsError` when the file is no store of this version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def standing(self) -> Sequence[Counted]:
        """Give what stands in every pot that is kept, sorted by the pots' names."""
        connection = connect(self._path, EmbeddedOptions(), closing=lambda: False)
        try:
            rows = connection.execute("SELECT key, spent, reserved FROM pots ORDER BY key")
            return [counted(key, int(spent), int(reserved)) for key, spent, reserved in rows]
        except apsw.Error as error:
            raise unavailable(error, str(self._path)) from error
        finally:
            connection.close()


class Pots:
    """The page of the pots, which are few and change with every call, and of the reservations."""

    lasts: ClassVar = True

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._taken: dict[str, tuple[int, int] | None] = {}
        self._kept_until: dict[str, int] = {}
        self._changed: set[str] = set()
        self._held: dict[str, tuple[int, str]] = {}
        self._unused: set[str] = set()
        self._made: dict[str, tuple[str, str, str, int]] = {}
        self._released: dict[str, None] = {}

    def look_ahead(self, wanted: Sequence[Ahead]) -> None:
        """See which of several names no reservation has: mostly none has."""
        names = {each.reservation for each in wanted if each.reservation is not None}
        if names:
            found = self._connection.execute(
                f"SELECT name FROM {LISTED} reservations ON name = listed",  # noqa: S608  # a constant
                (json.dumps(list(names)),),
            )
            self._unused = names.difference(used for (used,) in found)

    def taken(self, key: str) -> tuple[int, int] | None:
        """Give what is spent and what is reserved in a pot; None: there is no such pot."""
        try:
            return self._taken[key]
        except KeyError:
            found = self._connection.execute(
                "SELECT spent, reserved, expires_at FROM pots WHERE key = ?", (key,)
            ).fetchone()
            taken = None
            if found is not None:
                taken = (int(found[0]), int(found[1]))
                self._kept_until[key] = found[2]
            self._taken[key] = taken
            return taken

    def fill(self, key: str, spent: int, reserved: int, *, kept_until: int | None = None) -> None:
        """Let so much be spent and reserved in a pot; one that is new is kept until an instant."""
        self._taken[key] = (spent, reserved)
        if kept_until is not None:
            self._kept_until[key] = kept_until
        self._changed.add(key)

    def reserve(self, name: str, amount: int, pots: str, *, kept_until: int) -> bool:
        """Note a reservation; False: it is known already."""
        made = (name, str(amount), pots, kept_until)
        if name in self._unused:
            self._unused.discard(name)
            self._made[name] = made
        else:
            self._write_reservations()
            self._connection.execute(_RESERVE, made)
            if self._connection.changes() == 0:
                return False
        self._held[name] = amount, pots
        return True

    def knows(self, name: str) -> bool:
        """Tell whether there is a reservation of this name."""
        if name in self._unused:
            return False
        self._write_reservations()
        found = self._connection.execute("SELECT 1 FROM reservations WHERE name = ?", (name,))
        return found.fetchone() is not None

    def release(self, name: str) -> tuple[int, str] | None:
        """Drop a reservation, and give its amount and its pots; None: there is none."""
        held = self._held.pop(name, None)
        if held is not None:
            if self._made.pop(name, None) is None:
                self._released[name] = None
            return held
        if name in self._released:
            return None
        found: list[Any] = self._connection.execute(
            "DELETE FROM reservations WHERE name = ? RETURNING amount, pots", (name,)
        ).fetchall()
        for amount, pots in found:
            return int(amount), pots
        return None

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        self._taken = {}
        self._held = {}
        self._unused = set()

    def write(self) -> None:
        """Write what was changed."""
        if self._changed:
            self._connection.executemany(
                "INSERT OR REPLACE INTO pots (key, spent, reserved, expires_at) VALUES (?, ?, ?, ?)",
                [self._row(key) for key in self._changed],
            )
            self._changed = set()
        self._write_reservations()

    def _write_reservations(self) -> None:
        if self._released:
            self._connection.executemany(
                "DELETE FROM reservations WHERE name = ?", [(name,) for name in self._released]
            )
            self._released = {}
        if self._made:
            self._connection.executemany(_RESERVE, self._made.values())
            self._made = {}

    def _row(self, key: str) -> tuple[str, str, str, int]:
        spent, reserved = self._taken[key] or (0, 0)
        return key, str(spent), str(reserved), self._kept_until[key]


def room(
    books: Books, wanted: Reservation, now: datetime
) -> Sequence[tuple[str, int]] | OverBudget:
    """Give the pots if all of them have room, to be counted in the same transaction, or say which have none.

    A pot is its name, and until when it is kept. One that is reserved already has room.
    """
    pots, today = books.page(Pots), now.astimezone(UTC).date()
    named = [_pot(cap.account, cap.per, today) for cap in wanted.caps]
    taken = [pots.taken(key) or (0, 0) for key, _ in named]
    full = over(wanted.caps, taken, wanted.amount, now)
    return named if full is None or pots.knows(wanted.name) else full


def count(
    books: Books, wanted: Reservation, named: Sequence[tuple[str, int]], now: datetime
) -> None:
    """Count a reservation for which there is room, once."""
    pots, amount = books.page(Pots), whole(wanted.amount)
    kept_until = max((until for _, until in named), default=to_us(now))
    keys = _text(tuple(key for key, _ in named))
    if pots.reserve(wanted.name, amount, keys, kept_until=kept_until):
        for key, until in named:
            spent, reserved = pots.taken(key) or (0, 0)
            pots.fill(key, spent, reserved + amount, kept_until=until)


def _reserve(books: Books, wanted: Reservation, now: datetime) -> Reserved | OverBudget:
    named = room(books, wanted, now)
    if isinstance(named, OverBudget):
        return named
    count(books, wanted, named, now)
    return wanted.reserved


def settle(books: Books, name: str, amount: Decimal | None) -> None:
    """Count what was really spent, in the transaction of these books; see `Spend.settle`."""
    pots = books.page(Pots)
    released = pots.release(name)
    if released is None:
        return
    held, keys = released
    real = held if amount is None else whole(amount)
    for key in _keys(keys):
        if (taken := pots.taken(key)) is not None:
            spent, reserved = taken
            pots.fill(key, spent + real, max(reserved - held, 0))


# A tenant's calls of one day have the same pots.


@lru_cache(maxsize=_MANY)
def _pot(account: Account, per: Per, day: date) -> tuple[str, int]:
    """Give the name of a pot of this day in UTC, and until when it is kept."""
    pot = Pot.of(account, per, datetime.combine(day, time(), UTC))
    return pot.key, to_us(pot.ends + KEPT)


@lru_cache(maxsize=_MANY)
def _text(keys: tuple[str, ...]) -> str:
    return json.dumps(keys)


@lru_cache(maxsize=_MANY)
def _keys(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
