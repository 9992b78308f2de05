"""Drops what has outlived its lifetime, in steps so small that no call waits long for one."""

from pathlib import Path
from typing import Any, Final

import apsw

from worker.core.limits import SLOT_US, SLOTS
from worker.core.spend import Per, kept_from
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.owners import Owner, lock_path, remove_if_dead
from worker.store.instants import from_us, span_us

# Of each sort, and in one step.
_MOST_ROWS: Final = 100
# Freeing a large body reads all its pages.
_MOST_BYTES: Final = 4 * 1024 * 1024


def sweep(connection: apsw.Connection, *, now: int, options: EmbeddedOptions) -> bool:
    """Make one step; tell whether there may be more to drop at once."""
    _drop_orphaned_claims(connection, now)
    _drop_unused_meters(connection, now)
    dropped = (
        _drop_bodies(connection, now),
        _drop_jobs(connection, now),
        _drop_answers(connection, now - span_us(options.answer_ttl)),
        _drop_cached(connection, now),
        _drop_called_off(connection, now),
        _drop_pots(connection, now),
        _drop_reservations(connection, now),
    )
    return max(dropped) >= _MOST_ROWS


def bury(connection: apsw.Connection, owner: Owner, folder: Path) -> None:
    """Forget dead processes: their lock files, their rows, and claims of jobs that have ended since.

    A claim of an open job stays until a delivery takes it over: that writes the job's history. So does the
    row of a process that is only stopped: it holds its lock.
    """
    known = {token for (token,) in connection.execute("SELECT owner FROM owners")}
    for token in known | {path.stem for path in folder.glob("*.lock")}:
        if token == owner.token or not remove_if_dead(lock_path(folder, token)):
            continue
        connection.execute("DELETE FROM owners WHERE owner = ?", (token,))
        connection.execute(
            "DELETE FROM claims WHERE owner = ? AND NOT EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.id = claims.job_id AND jobs.state = 'open')",
            (token,),
        )


def _drop_orphaned_claims(connection: apsw.Connection, now: int) -> None:
    """Drop claims of the buried that would keep jobs beyond their time: no delivery came to take them over."""
    connection.execute(
        "DELETE FROM claims WHERE owner NOT IN (SELECT owner FROM owners)"
        " AND job_id IN (SELECT id FROM jobs WHERE expires_at <= ?)",
        (now,),
    )


def _drop_unused_meters(connection: apsw.Connection, now: int) -> None:
    """Drop the meters on which nothing counts any more; there are two at most for each account."""
    connection.execute("DELETE FROM meters WHERE newest < ?", (now // SLOT_US - SLOTS,))


def _drop_bodies(connection: apsw.Connection, now: int) -> int:
    dropped, freed = 0, 0
    rows: list[Any] = connection.execute(
        "SELECT job, size FROM bodies WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
        (now, _MOST_ROWS),
    ).fetchall()
    for number, size in rows:
        connection.execute("DELETE FROM bodies WHERE job = ?", (number,))
        dropped, freed = dropped + 1, freed + size
        if freed >= _MOST_BYTES:
            return _MOST_ROWS
    return dropped


def _drop_jobs(connection: apsw.Connection, now: int) -> int:
    numbers = connection.execute(
        "SELECT number FROM jobs WHERE expires_at <= ?"
        " AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.job_id = jobs.id)"
        " ORDER BY expires_at LIMIT ?",
        (now, _MOST_ROWS),
    ).fetchall()
    for table, column in (
        ("bodies", "job"),
        ("submissions", "job"),
        ("history", "job"),
        ("letters", "job"),
        ("jobs", "number"),
    ):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", numbers)  # noqa: S608  # names from above
    return len(numbers)


def _drop_answers(connection: apsw.Connection, until: int) -> int:
    connection.execute(
        "DELETE FROM answers WHERE key IN"
        " (SELECT key FROM answers WHERE ended_at <= ? ORDER BY ended_at LIMIT ?)",
        (until, _MOST_ROWS),
    )
    return connection.changes()


def _drop_cached(connection: apsw.Connection, now: int) -> int:
    connection.execute(
        "DELETE FROM cache WHERE number IN"
        " (SELECT number FROM cache WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        (now, _MOST_ROWS),
    )
    return connection.changes()


def _drop_called_off(connection: apsw.Connection, now: int) -> int:
    connection.execute("DELETE FROM called_off WHERE expires_at <= ?", (now,))
    return connection.changes()


def _drop_pots(connection: apsw.Connection, now: int) -> int:
    """Drop pots by their names, which begin with their periods: there are as many as tenants, for every day."""
    dropped = 0
    for per in Per:
        connection.execute(
            "DELETE FROM pots WHERE key IN"
            " (SELECT key FROM pots WHERE key >= ? AND key < ? ORDER BY key LIMIT ?)",
            (f"{per}:", kept_from(per, from_us(now)), _MOST_ROWS),
        )
        dropped = max(dropped, connection.changes())
    return dropped


def _drop_reservations(connection: apsw.Connection, now: int) -> int:
    connection.execute(
        "DELETE FROM reservations WHERE name IN"
        " (SELECT name FROM reservations WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        (now, _MOST_ROWS),
    )
    return connection.changes()
