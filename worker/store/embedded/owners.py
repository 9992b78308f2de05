"""Which worker process is alive.

A process is alive while all three hold: its row carries this machine's boot id, its lease has not run out,
and somebody holds the kernel's lock on its file in `owners/`. The lock goes with the process, however it
dies; the lease ends the rights of one that is stopped. Nobody can renew a lease while the store is away: so one that
has run out counts only when whoever judges has seen the store work for as long as a lease; until then the lock
alone tells. A process never judges itself: what it writes is
fenced by its token in the claims' own rows.
"""

import fcntl
import math
import os
import secrets
from pathlib import Path
from typing import Final

import apsw

from worker.ports import Clock

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Give the machine's boot id; where the system has none, the lock alone tells the living."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown-boot"


class Owner:
    """This process's life sign; several in one process are independent of each other."""

    def __init__(self, folder: Path, clock: Clock, lease_s: float) -> None:
        self._boot_id = boot_id()
        self.token = f"{self._boot_id}.{secrets.token_hex(8)}"
        self._folder = folder
        self._clock = clock
        self._lease_s = lease_s
        self._failed = True  # before the first renewal nothing is known of the store
        self._works_since = math.inf
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Take the kernel's lock; it is given up by `leave` or by the death of the process."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = lock_path(self._folder, self.token)
        while self._descriptor is None:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # A sweeper may have removed the file before we had the lock: then it locks nothing.
                kept = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
            except BaseException:
                os.close(descriptor)
                raise
            if kept:
                self._descriptor = descriptor
            else:
                os.close(descriptor)

    def renew(self, connection: apsw.Connection) -> None:
        """Write the lease anew; claims that others took over meanwhile stay theirs."""
        now = self._clock.monotonic()
        if self._failed:
            self._failed, self._works_since = False, now
        connection.execute(
            "INSERT OR REPLACE INTO owners (owner, boot_id, lease_until) VALUES (?, ?, ?)",
            (self.token, self._boot_id, now + self._lease_s),
        )

    def failed(self) -> None:
        """Note that the store did not work: the others may not have been able to renew their leases either."""
        self._failed, self._works_since = True, math.inf

    def alive(self, connection: apsw.Connection, owner: str) -> bool:
        """Tell whether another process, by its token, is alive."""
        found = connection.execute(
            "SELECT boot_id, lease_until FROM owners WHERE owner = ?", (owner,)
        ).fetchone()
        if found is None:
            return False
        booted, lease_until = found
        now = self._clock.monotonic()
        ran_out = lease_until <= now and self._works_since <= now - self._lease_s
        return booted == self._boot_id and not ran_out and self._locked(owner)

    def _locked(self, owner: str) -> bool:
        return locked(lock_path(self._folder, owner))

    def retire(self, connection: apsw.Connection) -> None:
        """Remove the row: claims that are still held may be taken over from now on."""
        connection.execute("DELETE FROM owners WHERE owner = ?", (self.token,))

    def leave(self) -> None:
        """Give the lock up and remove its file."""
        if self._descriptor is not None:
            lock_path(self._folder, self.token).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def lock_path(folder: Path, owner: str) -> Path:
    """Give the path of an owner's lock file."""
    return folder / f"{owner}.lock"


def locked(path: Path) -> bool:
    """Tell whether somebody holds the lock; a file that is gone is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look at the same time do not take each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def remove_if_dead(path: Path) -> bool:
    """Remove a lock file that nobody holds, under its own lock; tell whether its owner is dead."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
