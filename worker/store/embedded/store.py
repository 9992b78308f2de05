"""The embedded store as one thing to open and close: it owns the file, the life sign and the sweeper."""

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from worker.core.events import LeaseRenewed, Trouble
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store import upkeep
from worker.store.embedded.cache import EmbeddedCache, Shelf
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.jobs import Jobs
from worker.store.embedded.laneorders import EmbeddedLaneOrders
from worker.store.embedded.ledger import EmbeddedLedger
from worker.store.embedded.limits import EmbeddedLimits
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.owners import Owner
from worker.store.embedded.rationing import EmbeddedRationing
from worker.store.embedded.spend import EmbeddedSpend, Pots
from worker.store.embedded.sweeper import bury, sweep
from worker.store.instants import to_us

# Between two steps of a long sweep, so that the calls' own transactions come first.
_SWEEP_PAUSE_S: Final = 0.05


class EmbeddedStore:
    """Ledger, response cache, lane orders, rations, limits and spend of a worker process, in one file that its host's processes share.

    Use as `async with EmbeddedStore(path, …) as store`, then `store.ledger`, `store.cache` and so on. Entering
    creates the file, its folder and `owners/` beside it, readable by their owner alone.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        listener: Listener,
        options: EmbeddedOptions | None = None,
    ) -> None:
        self._options = EmbeddedOptions() if options is None else options
        self._clock = clock
        self._listener = listener
        self._folder = path.parent / "owners"
        self._owner = Owner(self._folder, clock, self._options.lease.total_seconds())
        self._file = EmbeddedFile(
            path, self._options, looking=(Jobs, Shelf, Pots), failed=self._owner.failed
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.cache = EmbeddedCache(
            self._file, clock=clock, listener=listener, options=self._options
        )
        self.ledger = EmbeddedLedger(
            self._file,
            self._owner,
            clock=clock,
            listener=listener,
            options=self._options,
            cache=self.cache,
        )
        self.lane_orders = EmbeddedLaneOrders(self._file)
        self.rationing = EmbeddedRationing(self._file, clock=clock)
        self.limits = EmbeddedLimits(self._file, clock=clock)
        self.spend = EmbeddedSpend(self._file, clock=clock)

    @property
    def owner(self) -> str:
        """The token under which this process holds its claims."""
        return self._owner.token

    @property
    def commits(self) -> int:
        """How many transactions have been committed; many operations share one under load."""
        return self._file.commits

    async def open(self) -> None:
        """Open the file and begin to show life.

        Raises:
            SettingsError: the file belongs to another program or to a newer Warren.
            StoreUnavailable: it cannot be opened now.
        """
        try:
            await self._file.open()
            self._owner.hold()
            await self._file.run(self._owner.renew)
        except BaseException:
            await self.close()
            raise
        self._tasks = upkeep.keep_up(
            renew=self.renew,
            renew_every=self._options.renew_every,
            sweep=self.sweep,
            sweep_every=self._options.sweep_every,
            tell=self._trouble,
        )

    async def close(self) -> None:
        """Wait for the transaction in flight and give up the life sign; claims still held may be taken over."""
        await upkeep.end(self._tasks)
        await self.ledger.close()
        with suppress(StoreUnavailable):  # the lock's end tells the others just as well
            await self._file.run(self._owner.retire)
        await self._file.close()
        self._owner.leave()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def renew(self) -> bool:
        """Renew the lease once and tell whether that worked."""
        try:
            await self._file.run(self._owner.renew)
        except StoreUnavailable as error:
            self._trouble(
                "the lease could not be renewed; other processes may take claims over", error
            )
            return False
        self._listener.tell(LeaseRenewed())
        return True

    async def sweep(self) -> None:
        """Drop all that has outlived its lifetime, step by step."""
        await self._file.run(lambda connection: bury(connection, self._owner, self._folder))
        more = True
        while more:
            step = partial(sweep, now=to_us(self._clock.now()), options=self._options)
            more = await self._file.run(step)
            if more:
                await asyncio.sleep(_SWEEP_PAUSE_S)

    def _trouble(self, what: str, error: Exception) -> None:
        self._listener.tell(
            Trouble(what=what, about=f"the store {self._file.path}", error=str(error))
        )
