"""The embedded store without a file and a thread: the same transactions, run at once, on a database in memory.

All processes of a schedule share the database, as they share the file. A commit takes a little virtual time, its
process may die before or after it, and the world may let the store fail before or after it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import apsw

from tests.simulation.database import Database
from worker.core.model import Beginning, Job
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books
from worker.store.embedded.cache import EmbeddedCache
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.laneorders import EmbeddedLaneOrders
from worker.store.embedded.ledger import EmbeddedLedger
from worker.store.embedded.limits import EmbeddedLimits
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.owners import Owner
from worker.store.embedded.rationing import EmbeddedRationing
from worker.store.embedded.spend import EmbeddedSpend
from worker.store.embedded.store import EmbeddedStore
from worker.store.embedded.sweeper import sweep
from worker.store.instants import to_us

if TYPE_CHECKING:
    from tests.simulation.process import Process

T = TypeVar("T")

OPTIONS: Final = EmbeddedOptions()
_NOWHERE: Final = Path("/nowhere/warren.db")
_BOOT: Final = "boot"


class _Waiting(NamedTuple):
    act: Callable[[Books], Any]
    future: asyncio.Future[Any]
    writes: bool
    certain: bool


class InlineFile(EmbeddedFile):
    """`EmbeddedFile` over the shared database: operations run in the loop, in their order, each alone."""

    def __init__(self, process: "Process", database: Database) -> None:
        super().__init__(_NOWHERE, OPTIONS)
        self.process = process
        self._database = database
        self.certain_next = False
        self._waiting: deque[_Waiting] = deque()

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = False

    def join(
        self, act: Callable[[Books], T], *, writes: bool = True, ahead: Ahead | None = None
    ) -> asyncio.Future[T]:
        del ahead  # each is alone
        if self._loop is None or self._closing:
            raise self._closed()
        future: asyncio.Future[T] = self._loop.create_future()
        certain, self.certain_next = self.certain_next, False
        self._waiting.append(_Waiting(act, future, writes, certain))
        process = self.process
        delay = process.world.weather.commit_s()
        if delay:
            self._loop.call_later(delay, self._commit, context=process.context)
        else:
            self._loop.call_soon(self._commit, context=process.context)
        return future

    async def close(self) -> None:
        self._closing = True
        while self._waiting:
            self._commit()

    def _commit(self) -> None:
        if not self._waiting:
            return
        act, future, writes, certain = self._waiting.popleft()
        if future.cancelled():
            return
        failing = self.process.world.weather.store()
        try:
            _fail(when="before", failing=failing)
            value, afterwards = self._database.transact(
                partial(_run, act), owner=self.process.owner, writes=writes
            )
            _fail(when="after", failing=None if certain else failing)
        except Exception as error:  # noqa: BLE001  # as in the thread: each caller gets its own error
            if not future.done():
                future.set_exception(error)
        else:
            self.commits += writes
            for then in afterwards:
                then()
            if not future.done():
                future.set_result(value)


def _run(
    act: Callable[[Books], T], connection: apsw.Connection
) -> tuple[T, list[Callable[[], None]]]:
    books = Books(connection)
    value = act(books)
    books.write()
    return value, books.end()


def _fail(*, when: str, failing: str | None) -> None:
    if when == failing:
        raise StoreUnavailable(f"the simulated store fails {when} the commit")


class _Ledger(EmbeddedLedger):
    """`EmbeddedLedger`, whose `begin` never commits and then says that it could not: SQLite does not.

    For all else the port allows that, and the line has to bear it.
    """

    _file: InlineFile

    async def begin(
        self, job: Job, *, max_attempts: int, terms: Terms | None = None, cached: bool | None = None
    ) -> Beginning:
        self._file.certain_next = True
        return await super().begin(job, max_attempts=max_attempts, terms=terms, cached=cached)

    async def holds(self, job: Job) -> bool:
        self._file.process.sure[job.id] = self._file.process.world.loop.steps
        return await super().holds(job)


class SimulatedOwner(Owner):
    """A life sign whose kernel lock is the simulated process's life."""

    def __init__(self, process: "Process", clock: Clock, lease_s: float) -> None:
        super().__init__(_NOWHERE.parent, clock, lease_s)
        self._boot_id = _BOOT
        self.token = process.owner
        self._living = process.world.living

    def hold(self) -> None:
        pass

    def _locked(self, owner: str) -> bool:
        return self._living(owner)

    def leave(self) -> None:
        pass


class SimulatedStore(EmbeddedStore):
    """`EmbeddedStore` with its own lease and sweeper, over the shared database."""

    def __init__(
        self, process: "Process", database: Database, *, clock: Clock, listener: Listener
    ) -> None:
        self._options = OPTIONS
        self._clock = clock
        self._listener = listener
        self._folder = _NOWHERE.parent
        self._file = InlineFile(process, database)
        self._owner = SimulatedOwner(process, clock, OPTIONS.lease.total_seconds())
        self._tasks = []
        self.cache = EmbeddedCache(self._file, clock=clock, listener=listener, options=OPTIONS)
        self.ledger = _Ledger(
            self._file,
            self._owner,
            clock=clock,
            listener=listener,
            options=OPTIONS,
            cache=self.cache,
        )
        self.lane_orders = EmbeddedLaneOrders(self._file)
        self.rationing = EmbeddedRationing(self._file, clock=clock)
        self.spend = EmbeddedSpend(self._file, clock=clock)
        self.limits = EmbeddedLimits(self._file, clock=clock)

    async def sweep(self) -> None:
        """Drop what has outlived its lifetime; there are no lock files to bury."""
        await self._file.run(partial(sweep, now=to_us(self._clock.now()), options=self._options))
