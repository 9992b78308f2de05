"""How a connection is opened, and what SQLite's errors mean for us."""

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from worker.errors import StoreUnavailable, StoreUnusable
from worker.store.embedded import schema
from worker.store.embedded.options import Durability, EmbeddedOptions

_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (apsw.BusyError, "stayed locked by another process; look for one that is stopped or stuck"),
    (apsw.ProtocolError, "stayed locked by another process; look for one that is stopped or stuck"),
    (apsw.FullError, "has no room to grow; free disk space"),
    (apsw.CorruptError, "is damaged; stop the workers, keep a copy and restore or remove the file"),
    (apsw.NotADBError, "is damaged; stop the workers, keep a copy and restore or remove the file"),
    (apsw.IOError, "cannot be read or written; look at the disk and the kernel's log"),
    (apsw.CantOpenError, "cannot be opened; check that its directory exists and who owns it"),
    (apsw.ReadOnlyError, "may not be written; check who owns the file and its directory"),
    (apsw.PermissionsError, "may not be used; check who owns the file and its directory"),
    (apsw.NoMemError, "ran out of memory; give the worker more or lower its concurrency"),
    (
        BlockingIOError,
        "is being prepared by another process; look for one that is stopped or stuck",
    ),
    (OSError, "cannot be used; check who owns the file, its directory and the folder `owners`"),
)
# What no waiting mends.
_UNUSABLE: Final = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    PermissionError,
    FileNotFoundError,
    NotADirectoryError,
    FileExistsError,
)
# One process at a time prepares a file; a start waits this long for the others.
_PREPARE_WAIT_S: Final = 10.0
# SQLite's own busy handler sleeps up to 100 ms between looks and starves beside a busy writer.
# What a process keeps of the file in memory, once so much of it was read or written.
PAGE_CACHE_KIB: Final = 16_000
_BUSY_SLEEP_S: Final = 0.001


def unavailable(error: Exception, path: str) -> Exception:
    """Give the `StoreUnavailable` that an error stands for, or the error itself when it is a bug of ours."""
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            sort = StoreUnusable if isinstance(error, _UNUSABLE) else StoreUnavailable
            told = sort(f"the store {path} {advice} ({type(error).__name__})")
            told.__cause__ = error
            return told
    return error


def connect(
    path: Path, options: EmbeddedOptions, *, closing: Callable[[], bool]
) -> apsw.Connection:
    """Open the file for writing, creating it for its owner alone; `closing` ends a wait for its lock.

    Raises:
        SettingsError: the file belongs to another program or to a newer Warren.
        StoreUnavailable: it cannot be opened now.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(path.parent):
            _private(path)
            connection = apsw.Connection(str(path))
            try:
                _set_up(connection, options, closing)
                schema.prepare(connection, str(path))
                _check_wal(connection)
            except BaseException:
                connection.close()
                raise
    except (apsw.Error, OSError) as error:
        raise unavailable(error, str(path)) from error
    else:
        return connection


def connect_reader(path: Path) -> apsw.Connection:
    """Open an existing file for reading.

    Raises:
        SettingsError: the file belongs to another program or to a newer Warren.
        StoreUnavailable: there is no such file, or it cannot be opened now.
    """
    if not path.exists():
        raise StoreUnavailable(
            f"the store {path} does not exist; name the file that the workers use, or start one first"
        )
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        schema.check(connection, str(path))
    except apsw.Error as error:
        raise unavailable(error, str(path)) from error
    else:
        return connection


def _set_up(
    connection: apsw.Connection, options: EmbeddedOptions, closing: Callable[[], bool]
) -> None:
    began = 0.0

    def wait(looks: int) -> bool:
        nonlocal began
        now = time.monotonic()
        began = now if looks == 0 else began
        if closing() or now - began > options.busy_timeout.total_seconds():
            return False
        time.sleep(_BUSY_SLEEP_S * random.uniform(0.5, 1.5))  # noqa: S311  # spreads, hides nothing
        return True

    connection.set_busy_handler(wait)
    full = options.durability is Durability.POWER
    connection.pragma("synchronous", "FULL" if full else "NORMAL")
    connection.pragma("cache_size", -PAGE_CACHE_KIB)  # less than 0: KiB, not pages
    connection.pragma("journal_size_limit", 64 * 1024 * 1024)
    connection.pragma("wal_autocheckpoint", 2_000)  # pages: a checkpoint every 8 MB


def _check_wal(connection: apsw.Connection) -> None:
    if connection.pragma("journal_mode") != "wal":
        connection.pragma("journal_mode", "wal")


def _private(path: Path) -> None:
    # SQLite gives -wal and -shm the mode of the file itself, so it must be right before they appear.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if part.exists() and part.stat().st_mode & 0o077:
            part.chmod(0o600)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    # Turning a fresh file to WAL and making its tables is no one transaction: others wait outside.
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + _PREPARE_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(_BUSY_SLEEP_S)
        yield
    finally:
        os.close(descriptor)
