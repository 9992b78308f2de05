"""The `Spend` port over the embedded file, and the operators' side of it: sums are texts, and Python adds them."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw

from worker.core.money import whole
from worker.core.spend import KEPT, Cap, Counted, OverBudget, Pot, Reserved, counted, over
from worker.ports import Clock
from worker.store.embedded.connection import connect, unavailable
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.options import EmbeddedOptions
from worker.store.instants import to_us


class EmbeddedSpend:
    """Counts money against budgets, over all worker processes of the host and their restarts."""

    def __init__(self, file: EmbeddedFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        """Count the amount against all of the caps, or against none and say which is over."""
        now = self._clock.now()
        return await self._file.run(
            lambda connection: _reserve(connection, reservation, caps, amount, now=now)
        )

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        """Count what was really spent instead of what was reserved; None: what was reserved."""
        await self._file.run(lambda connection: _settle(connection, reserved.name, amount))


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


def _reserve(
    connection: apsw.Connection, name: str, caps: Sequence[Cap], amount: Decimal, *, now: datetime
) -> Reserved | OverBudget:
    known = connection.execute("SELECT 1 FROM reservations WHERE name = ?", (name,)).fetchone()
    if known is not None:
        return Reserved(name=name, amount=amount)
    pots = [Pot.of(cap.account, cap.per, now) for cap in caps]
    full = over(caps, [_read(connection, pot.key) for pot in pots], amount, now)
    if full is not None:
        return full
    for pot in pots:
        spent, reserved = _read(connection, pot.key)
        connection.execute(
            "INSERT OR REPLACE INTO pots (key, spent, reserved, expires_at) VALUES (?, ?, ?, ?)",
            (pot.key, str(spent), str(reserved + whole(amount)), to_us(pot.ends + KEPT)),
        )
    connection.execute(
        "INSERT INTO reservations (name, amount, pots, expires_at) VALUES (?, ?, ?, ?)",
        (
            name,
            str(whole(amount)),
            json.dumps([pot.key for pot in pots]),
            max((to_us(pot.ends + KEPT) for pot in pots), default=to_us(now)),
        ),
    )
    return Reserved(name=name, amount=amount)


def _settle(connection: apsw.Connection, name: str, amount: Decimal | None) -> None:
    found: list[Any] = connection.execute(
        "DELETE FROM reservations WHERE name = ? RETURNING amount, pots", (name,)
    ).fetchall()
    for held, pots in found:
        real = int(held) if amount is None else whole(amount)
        for key in json.loads(pots):
            spent, reserved = _read(connection, key)
            connection.execute(
                "UPDATE pots SET spent = ?, reserved = ? WHERE key = ?",
                (str(spent + real), str(max(reserved - int(held), 0)), key),
            )


def _read(connection: apsw.Connection, key: str) -> tuple[int, int]:
    """Give what is spent and what is reserved in a pot."""
    found = connection.execute("SELECT spent, reserved FROM pots WHERE key = ?", (key,)).fetchone()
    return (0, 0) if found is None else (int(found[0]), int(found[1]))
