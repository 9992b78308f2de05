"""The Redis store as one thing to open and close: connection, life sign, sweeper, and what stands on them."""

import asyncio
import secrets
import socket
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from redis.exceptions import RedisError

from worker.core.events import LeaseRenewed, Trouble
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store import upkeep
from worker.store.instants import span_us
from worker.store.redis.cache import RedisCache
from worker.store.redis.checks import check
from worker.store.redis.connection import RedisConnection
from worker.store.redis.laneorders import RedisLaneOrders
from worker.store.redis.ledger import RedisLedger
from worker.store.redis.limits import RedisLimits
from worker.store.redis.listening import Listening
from worker.store.redis.options import RedisOptions
from worker.store.redis.procedures import Procedures
from worker.store.redis.rationing import RedisRationing
from worker.store.redis.scripts import LedgerScripts
from worker.store.redis.spend import RedisSpend
from worker.store.redis.trouble import unavailable

# Between two steps of a long sweep.
_SWEEP_PAUSE_S: Final = 0.05
# Of jobs, in one step: the server does nothing else meanwhile.
_MOST_DROPPED: Final = 100


class RedisStore:
    """Ledger, response cache, lane orders, rations, limits and spend of a worker process, in a Redis that its fleet shares.

    Use as `async with RedisStore(options, …) as store`, then `store.ledger`, `store.cache` and so on. With
    `trust_clock` the process's clock is taken for the server's, as in tests.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        clock: Clock,
        listener: Listener,
        trust_clock: bool = False,
    ) -> None:
        self._options = options
        self._listener = listener
        self.connection = RedisConnection(options)
        self._procedures = Procedures(
            self.connection,
            LedgerScripts.made(trust_clock=trust_clock),
            f"{socket.gethostname()[:24]}.{secrets.token_hex(8)}",
            clock=clock,
        )
        self._was_away = True  # before the first renewal nothing is known of the server
        self._tasks: list[asyncio.Task[None]] = []
        self.cache = RedisCache(self.connection, clock=clock, listener=listener, options=options)
        self.lane_orders = RedisLaneOrders(self.connection)
        self.rationing = RedisRationing(self.connection, clock=clock if trust_clock else None)
        self.limits = RedisLimits(self.connection, clock=clock if trust_clock else None)
        self.spend = RedisSpend(self.connection, clock=clock)
        self.ledger = RedisLedger(
            self._procedures,
            listener=listener,
            cache=self.cache,
            limits=self.limits,
            spend=self.spend,
        )
        self._listening = Listening(
            options,
            self.connection.key("released"),
            lambda key: self.ledger.watch.wake(key.decode()),
        )

    @property
    def owner(self) -> str:
        """The token under which this process holds its claims."""
        return self._procedures.owner

    async def open(self) -> None:
        """Connect, look at the server, and begin to show life.

        Raises:
            SettingsError: the server must not keep a ledger.
            StoreUnavailable: it cannot be used now.
        """
        try:
            await self.connection.open()
            for warning in await check(self.connection):
                self._listener.tell(
                    Trouble(what="the store may forget", about=self._about, error=warning)
                )
            await self._renew()
            await self._listen()
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
        """Wait for what was sent and give up the life sign; claims still held may be taken over."""
        await upkeep.end(self._tasks)
        await self._listening.close()
        await self.ledger.close()
        with suppress(StoreUnavailable):  # the lease's end tells the others just as well
            await self.connection.command("ZREM", self.connection.key("owners"), self.owner)
        await self.connection.close()

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
            await self._renew()
            await self.ledger.calls.give_back_unheard()
        except StoreUnavailable as error:
            self._trouble(
                "the lease could not be renewed; other processes may take claims over", error
            )
            return False
        self._listener.tell(LeaseRenewed())
        return True

    async def sweep(self) -> None:
        """Drop all that has outlived its lifetime, step by step."""
        sweep, again_after = self._procedures.scripts.sweep, span_us(self._options.sweep_every)
        more = True
        while more:
            dropped = await self._procedures.submit(sweep, _MOST_DROPPED, again_after)
            more = await self.cache.bury() or dropped >= _MOST_DROPPED
            if more:
                await asyncio.sleep(_SWEEP_PAUSE_S)

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        began, was_away, self._was_away = loop.time(), self._was_away, True
        await self._procedures.submit(self._procedures.scripts.renew, int(was_away))
        # Whoever else wanted to renew has waited as long.
        self._was_away = loop.time() - began > self._options.renew_every.total_seconds()

    async def _listen(self) -> None:
        try:
            await self._listening.open()
        except (RedisError, OSError) as error:
            raise unavailable(error, self.connection.place) from error

    @property
    def _about(self) -> str:
        return f"the Redis {self.connection.place}"

    def _trouble(self, what: str, error: Exception) -> None:
        self._listener.tell(Trouble(what=what, about=self._about, error=str(error)))
