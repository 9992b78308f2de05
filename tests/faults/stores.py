"""What makes a store unavailable, and available again, from outside: each a context that ends the fault on leaving.

The store's own process need not know. `embedded_faults` and `redis_faults` give those that suit chance: each by its name.

| fault | what the store sees |
| --- | --- |
| `locked` | the write lock is held for longer than anybody waits for it |
| `slow` | the write lock is held, most of the time, for less than that |
| `moved` | the file is not in its place |
| `full` | its disk has no room: needs `tiny_disk`, which needs root |
| `short_of_pages`, `read_only` | the same of one open store in this process, without root |
| `corrupt` | the file's first pages are garbage: only for a store that nobody has open |
| `stopped`, `killed`, `without_memory`, `distant` | a Redis that hangs, dies, refuses writes, or is slow to reach |
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

import apsw

from tests.faults.proxy import Proxy
from worker.store.embedded import EmbeddedStore

# SQLite waits 5 s for a lock: a pulse below that is slow, and no fault.
_PULSE_S = 0.5
_PAUSE_S = 0.05
_CHUNK = 64 * 1024

Fault: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]


class Server(Protocol):
    """What of a private Redis is used here."""

    @property
    def port(self) -> int: ...
    def ask(self, *words: str) -> object: ...
    def send(self, number: signal.Signals) -> None: ...
    def kill(self) -> None: ...


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the write lock, as another process does that was stopped inside a transaction."""
    connection = apsw.Connection(str(path))
    try:
        while True:  # a busy writer lets go between two transactions
            with suppress(apsw.BusyError):
                connection.execute("BEGIN EXCLUSIVE")
                break
            await asyncio.sleep(0.001)
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()


@asynccontextmanager
async def slow(path: Path) -> AsyncIterator[None]:
    """Hold the write lock again and again: each transaction waits, and none fails."""

    async def pulse() -> None:
        while True:
            async with locked(path):
                await asyncio.sleep(_PULSE_S)
            await asyncio.sleep(_PAUSE_S)

    pulsing = asyncio.create_task(pulse())
    try:
        yield
    finally:
        pulsing.cancel()
        await asyncio.wait({pulsing})


@asynccontextmanager
async def moved(path: Path) -> AsyncIterator[None]:
    """Take the file away, and put the same one back."""
    elsewhere = path.with_name(f"{path.name}.elsewhere")
    await asyncio.to_thread(path.rename, elsewhere)
    try:
        yield
    finally:
        await asyncio.to_thread(elsewhere.rename, path)


@asynccontextmanager
async def full(disk: Path) -> AsyncIterator[None]:
    """Leave no byte free where the store lies; `disk` is a `tiny_disk`."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            size = _CHUNK
            while size:  # until not even one more byte has room
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2
        yield
    finally:
        filler.unlink(missing_ok=True)


@asynccontextmanager
async def short_of_pages(store: EmbeddedStore) -> AsyncIterator[None]:
    """Let the file of this open store grow no more."""
    most = await store._file.run(lambda it: it.pragma("max_page_count"), writes=False)

    def bound(connection: apsw.Connection) -> None:
        # What is free inside the file would do for a while.
        connection.pragma("max_page_count", 1)
        assert connection.pragma("freelist_count") == 0

    await store._file.run(bound, writes=False)
    try:
        yield
    finally:
        await store._file.run(lambda it: it.pragma("max_page_count", most), writes=False)


@asynccontextmanager
async def read_only(store: EmbeddedStore) -> AsyncIterator[None]:
    """Let this open store read and not write, as on a disk that the kernel has made read-only."""
    await store._file.run(lambda it: it.pragma("query_only", 1), writes=False)
    try:
        yield
    finally:
        await store._file.run(lambda it: it.pragma("query_only", 0), writes=False)


@contextmanager
def corrupt(path: Path) -> Iterator[None]:
    """Damage the file while nobody has it open, and mend it."""
    for part in (f"{path}-wal", f"{path}-shm"):
        assert not Path(part).exists(), "somebody has it open, or it was not closed"
    kept = path.read_bytes()
    path.write_bytes(os.urandom(2 * 4096) + kept[2 * 4096 :])
    try:
        yield
    finally:
        path.write_bytes(kept)


def may_mount() -> bool:
    """Tell whether this process may make a `tiny_disk`: root, and no container that forbids it."""
    mount = shutil.which("mount")
    return mount is not None and os.geteuid() == 0


@contextmanager
def tiny_disk(folder: Path, size: int = 64 * 1024 * 1024) -> Iterator[Path]:
    """Give a folder with a disk of its own; whoever may not mount gets an `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        raise PermissionError("there is no mount")
    options = f"size={size},mode=0700"
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        raise PermissionError(done.stderr.decode(errors="replace").strip())
    try:
        yield folder
    finally:
        # Lazily: a killed worker's last handle may be open for a moment longer.
        subprocess.run([umount, "-l", str(folder)], check=True)


@asynccontextmanager
async def stopped(server: Server) -> AsyncIterator[None]:
    """Let the server take connections and never answer."""
    server.send(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send(signal.SIGCONT)


@asynccontextmanager
async def killed(server: Server, restart: Callable[[], object]) -> AsyncIterator[None]:
    """Kill the server, and start it again where it was."""
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(restart)


@asynccontextmanager
async def without_memory(server: Server) -> AsyncIterator[None]:
    """Let the server refuse every write that could need memory; it drops nothing."""
    answer = server.ask("CONFIG", "GET", "maxmemory")
    before = answer[1] if isinstance(answer, list) else "0"
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        text = before.decode() if isinstance(before, bytes) else str(before)
        server.ask("CONFIG", "SET", "maxmemory", text)


@asynccontextmanager
async def distant(way: Proxy, delay_s: float) -> AsyncIterator[None]:
    """Let every piece that passes take so much longer."""
    way.delay_s = delay_s
    try:
        yield
    finally:
        way.delay_s = 0.0


def embedded_faults(path: Path, *, disk: Path | None) -> dict[str, Fault]:
    """Give the faults of a store that worker processes have open; `disk`: its `tiny_disk`, where there is one."""
    faults: dict[str, Fault] = {
        "locked": lambda: locked(path),
        "slow": lambda: slow(path),
        "moved": lambda: moved(path),
    }
    if disk is not None:
        faults["full"] = lambda: full(disk)
    return faults


def redis_faults(
    server: Server, restart: Callable[[], object], way: Proxy | None = None
) -> dict[str, Fault]:
    """Give the faults of a Redis; `restart` starts it again, `way` is how its clients reach it, if by one."""
    faults: dict[str, Fault] = {
        "stopped": lambda: stopped(server),
        "killed": lambda: killed(server, restart),
        "without memory": lambda: without_memory(server),
    }
    if way is not None:
        faults["distant"] = lambda: distant(way, 0.5)
    return faults
