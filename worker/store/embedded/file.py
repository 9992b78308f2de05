"""The store's file and its one writer thread: operations that wait together are committed together."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

import apsw

from worker.errors import StoreUnavailable
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books, PageKind
from worker.store.embedded.connection import connect, unavailable
from worker.store.embedded.options import EmbeddedOptions

T = TypeVar("T")

# Bounds how long one transaction keeps the other processes out.
_MOST_TOGETHER: Final = 128
# What keeps the whole file from working: running the operations one by one would not help.
_EVERYBODYS: Final = (
    apsw.BusyError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    StoreUnavailable,
)


# An operation: what it does, who waits for it, whether it writes, and what it will look for. No class, since ten are made
# for each job.
_Waiting: TypeAlias = tuple[Callable[[Books], Any], asyncio.Future[Any], bool, Ahead | None]
_Settled: TypeAlias = tuple[asyncio.Future[Any], Any, Exception | None]
_Afterwards: TypeAlias = list[Callable[[], None]]


class EmbeddedFile:
    """One SQLite file behind one thread.

    An operation is a plain function, of the connection or of the transaction's `Books`. It may run twice (the first run
    rolled back), so whatever it does besides must be safe to repeat. The operations of one turn of the event loop, and
    those that wait when the thread gets free, share one transaction, in their order and up to a number; when one of them
    raises, each runs in a transaction of its own, so that only the guilty one fails. A caller that is cancelled leaves its
    operation done or not done, never half done.
    """

    def __init__(
        self,
        path: Path,
        options: EmbeddedOptions,
        *,
        looking: Sequence[PageKind] = (),
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it, not yet open. `failed` is called in the thread when the file did not work, or only very slowly.

        `looking` are the pages that look ahead.
        """
        self.path = path
        self._failed = failed
        self._looking = looking
        self.commits = 0
        self._options = options
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._turn: list[_Waiting] = []
        self._left: list[_Waiting] = []  # taken out of the queue, and too many for one transaction
        self._closing = False
        self._identity = (0, 0)
        self._books: Books | None = None  # None: nothing is known
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Open the file and start the thread.

        Raises:
            SettingsError: the file belongs to another program or to a newer Warren.
            StoreUnavailable: it cannot be opened now.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        threading.Thread(
            target=self._serve, args=(opened,), name="warren-store", daemon=True
        ).start()
        await opened

    def join(
        self, act: Callable[[Books], T], *, writes: bool = True, ahead: Ahead | None = None
    ) -> asyncio.Future[T]:
        """Queue an operation on the books; the future ends after its commit. Cancelling it may come too late.

        `ahead`: what it will look for, which is read for all that share a transaction at once.
        """
        if self._loop is None or self._closing:
            raise self._closed()
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._turn:
            self._loop.call_soon(self._hand_over)
        self._turn.append((act, future, writes, ahead))
        return future

    def submit(
        self, act: Callable[[apsw.Connection], T], *, writes: bool = True
    ) -> asyncio.Future[T]:
        """Queue an operation on the tables themselves; see `join`."""
        if writes:
            return self.join(lambda books: act(books.straight()))
        return self.join(lambda books: act(books.reading()), writes=False)

    async def run(self, act: Callable[[apsw.Connection], T], *, writes: bool = True) -> T:
        """Give the operation's value after its commit.

        Raises:
            StoreUnavailable: the file cannot be used now; the operation changed nothing.
        """
        return await self.submit(act, writes=writes)

    async def close(self) -> None:
        """Wait for the transaction in flight and close; what still waits fails with `StoreUnavailable`."""
        if self._ended is None:
            return
        self._closing = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.shield(self._ended)

    def _hand_over(self) -> None:
        if self._turn:
            self._queue.put(self._turn)
            self._turn = []

    # From here on: the thread.

    def _serve(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = connect(self.path, self._options, closing=lambda: self._closing)
        except Exception as error:  # noqa: BLE001  # a thread's border: the opener gets every error
            self._closing = True
            self._call(_fail, opened, error)
        else:
            self._identity = _identity(self.path)
            self._call(_succeed, opened)
            while not self._closing and (batch := self._next()) is not None:
                self._call(_deliver, *self._settle(connection, batch))
            connection.close()
        self._call(self._finish)

    def _next(self) -> list[_Waiting] | None:
        batch = self._left or self._queue.get()
        if batch is None:
            return None
        while len(batch) < _MOST_TOGETHER:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:  # put back, so that the next look ends the thread
                self._queue.put(None)
                break
            batch = batch + more
        self._left = batch[_MOST_TOGETHER:]
        return batch[:_MOST_TOGETHER] if self._left else batch

    def _settle(
        self, connection: apsw.Connection, batch: list[_Waiting]
    ) -> tuple[list[_Settled], _Afterwards]:
        wanted = [waiting for waiting in batch if not waiting[1].cancelled()]
        began = time.monotonic()
        try:
            values, afterwards = self._transact(connection, wanted)
        except Exception as error:  # noqa: BLE001  # a thread's border: each caller gets its own error
            if len(wanted) > 1 and not isinstance(error, _EVERYBODYS):
                return self._settle_each(connection, wanted)
            told = unavailable(error, str(self.path))
            if isinstance(told, StoreUnavailable):
                self._failed()
            return [(future, None, told) for _, future, _, _ in wanted], []
        if time.monotonic() - began > self._options.renew_every.total_seconds():
            self._failed()  # whoever else wanted to write waited as long
        settled: list[_Settled] = [
            (future, value, None) for (_, future, _, _), value in zip(wanted, values, strict=True)
        ]
        return settled, afterwards

    def _settle_each(
        self, connection: apsw.Connection, wanted: list[_Waiting]
    ) -> tuple[list[_Settled], _Afterwards]:
        settled = list[_Settled]()
        afterwards = _Afterwards()
        for waiting in wanted:
            one, then = self._settle(connection, [waiting])
            settled += one
            afterwards += then
        return settled, afterwards

    def _transact(
        self, connection: apsw.Connection, wanted: list[_Waiting]
    ) -> tuple[list[Any], _Afterwards]:
        if not wanted:
            return [], []
        if _identity(self.path) != self._identity:
            raise StoreUnavailable(
                f"the store {self.path} was moved or replaced under the running worker; restart the worker"
            )
        writes = any(writes for _, _, writes, _ in wanted)
        books, self._books = self._books or Books(connection, self._looking), None
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            books.turn(len(wanted))
            ahead = [ahead for _, _, _, ahead in wanted if ahead is not None]
            if len(ahead) > 1:
                books.look_ahead(ahead)
            values = [act(books) for act, _, _, _ in wanted]
            books.write()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some errors of SQLite have rolled back already
                connection.execute("ROLLBACK")
            raise
        self._books = books  # what they know is so, now that it is committed
        self.commits += writes
        return values, books.end()

    def _call(self, function: Callable[..., None], *values: object) -> None:
        assert self._loop is not None  # noqa: S101  # open() has set it before the thread began
        try:
            self._loop.call_soon_threadsafe(function, *values)
        except RuntimeError:  # the loop is gone: nobody is left to tell
            self._closing = True

    def _finish(self) -> None:
        # Back in the event loop; nothing is submitted any more, so what is queued now is all there is.
        while not self._queue.empty():
            self._left += self._queue.get() or ()
        for _, future, _, _ in self._left:
            _fail(future, self._closed())
        self._left = []
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store {self.path} is closed; the worker is stopping")


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, -1)
    return (found.st_dev, found.st_ino)


def _deliver(settled: list[_Settled], afterwards: _Afterwards) -> None:
    for then in afterwards:
        then()
    for future, value, error in settled:
        if error is not None:
            _fail(future, error)
        elif not future.done():
            future.set_result(value)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
