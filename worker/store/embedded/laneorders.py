"""The `LaneOrders` port over the embedded file, and the operators' side of it."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import apsw

from worker.core.lanes import NO_ORDERS, Orders
from worker.store.embedded.connection import connect, unavailable
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.options import EmbeddedOptions
from worker.store.instants import to_us
from worker.store.orders import texts, with_windows

T = TypeVar("T")


class EmbeddedLaneOrders:
    """What operators want of the lanes, as the workers read it."""

    def __init__(self, file: EmbeddedFile) -> None:
        self._file = file

    async def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand."""
        return await self._file.run(_read, writes=False)


class OrderBook:
    """The operators' side: reads and writes orders in the workers' file, also while no worker runs.

    Errors: `StoreUnavailable`, and `SettingsError` when the file is no store of this version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand."""
        return self._with(_read)

    def change(self, lane: str, change: Callable[[Orders], Orders], *, now: datetime) -> None:
        """Let other orders stand for the lane, made of those that stand: nobody's change is lost between the two."""

        def act(connection: apsw.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                orders = change(_read(connection).get(lane, NO_ORDERS))
                _write(connection, lane, orders, to_us(now))
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

        self._with(act)

    def started(self, lane: str, *, since: datetime) -> int:
        """Tell how many calls the lane has started since then, within its last minute; 0 without a ration."""
        found = self._with(
            lambda connection: connection.execute(
                "SELECT count(*) FROM permits WHERE lane = ? AND at >= ?", (lane, to_us(since))
            ).fetchall()
        )
        return int(found[0][0] or 0)

    def _with(self, act: Callable[[apsw.Connection], T]) -> T:
        # Opened for each question, as by `EmbeddedArchive`; a worker that is not there yet finds the file.
        connection = connect(self._path, EmbeddedOptions(), closing=lambda: False)
        try:
            return act(connection)
        except apsw.Error as error:
            raise unavailable(error, str(self._path)) from error
        finally:
            connection.close()


def _read(connection: apsw.Connection) -> Mapping[str, Orders]:
    return {
        lane: with_windows(
            Orders(
                paused=bool(paused), reason=reason, concurrency=concurrency, per_minute=per_minute
            ),
            None if windows is None else json.loads(windows),
        )
        for lane, paused, reason, concurrency, per_minute, windows in connection.execute(
            "SELECT lane, paused, reason, concurrency, per_minute, windows FROM lanes"
        )
    }


def _write(connection: apsw.Connection, lane: str, orders: Orders, now: int) -> None:
    windows = texts(orders.windows)
    connection.execute(
        "INSERT OR REPLACE INTO lanes"
        " (lane, paused, reason, concurrency, per_minute, windows, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            lane,
            orders.paused,
            orders.reason,
            orders.concurrency,
            orders.per_minute,
            None if windows is None else json.dumps(windows),
            now,
        ),
    )
