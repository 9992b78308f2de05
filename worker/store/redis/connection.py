"""The connections to a Redis: operations that wait together travel together, and none is ever cut in half."""

import asyncio
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from worker.errors import StoreUnavailable
from worker.store.redis.address import pool, where
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script
from worker.store.redis.trouble import unavailable

Part: TypeAlias = str | int | bytes

# Bounds what one slow round trip can hold up.
_MOST_TOGETHER: Final = 128


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    parts: tuple[Part, ...]
    script: Script | None
    future: asyncio.Future[Any]


class RedisConnection:
    """A few connections to one Redis, and what waits for one of them.

    An operation is a script or a command. All operations of one turn of the event loop, and all that wait when a
    connection gets free, share one round trip; each succeeds or fails by itself. The tasks that talk belong to this
    object: a caller that is cancelled leaves its operation done or not done, and its connection whole.

    When a connection breaks that had worked before, what it left unanswered is sent once more over a new one: so
    an operation must be safe to repeat, and may come to the server twice.
    """

    def __init__(self, options: RedisOptions) -> None:
        self.place = where(options.url)
        self.options = options
        self._timeout_s = options.timeout.total_seconds()
        self._pool = pool(options)
        self._waiting: deque[_Waiting] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._called = False
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = True

    async def open(self) -> None:
        """Begin to serve, and make sure that the server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        self._closed = False
        self._tasks = [
            asyncio.create_task(self._serve(), name=f"redis-{number}")
            for number in range(self.options.connections)
        ]
        try:
            await self.command("PING")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Wait for the round trips in flight and hang up; what still waits fails with `StoreUnavailable`."""
        self._closed = True
        while self._waiting:
            _fail(self._waiting.popleft().future, self._is_closed())
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    def key(self, *parts: str) -> str:
        """Give the name of a key: `{<prefix>}:<part>:<part>`."""
        return ":".join((f"{{{self.options.prefix}}}", *parts))

    async def run(self, script: Script, *arguments: Part) -> Any:  # noqa: ANN401  # what the script gives
        """Run a script, with `{<prefix>}` as its one key, and give what it returns.

        Raises:
            StoreUnavailable: the server cannot be used now; the script ran whole or not at all.
        """
        return await self.submit(script, *arguments)

    async def command(self, *parts: Part) -> Any:  # noqa: ANN401  # what the server gives
        """Run a plain command. Errors: as `run`."""
        return await self._put(parts, None)

    def submit(self, script: Script, *arguments: Part) -> asyncio.Future[Any]:
        """Queue a script's run; cancelling the future may come too late."""
        parts = ("EVALSHA", script.sha, 1, self.key(), *arguments)
        return self._put(parts, script)

    def _put(self, parts: tuple[Part, ...], script: Script | None) -> asyncio.Future[Any]:
        if self._closed:
            raise self._is_closed()
        waiting = _Waiting(
            parts=parts, script=script, future=asyncio.get_running_loop().create_future()
        )
        self._waiting.append(waiting)
        self._call()
        return waiting.future

    def _call(self) -> None:
        # One at a time: whoever comes takes all that wait by then.
        if not self._called and self._idle:
            self._called = True
            self._idle.pop().set_result(None)

    async def _serve(self) -> None:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # not typed there
        try:
            while (batch := await self._next()) is not None:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await self._converse(connection, batch)
                except Exception as error:  # noqa: BLE001  # a task's border: each caller gets the error
                    self._all_fail(batch, unavailable(error, self.place))
        finally:
            await connection.disconnect(nowait=True)

    async def _next(self) -> list[_Waiting] | None:
        while not self._waiting:
            if self._closed:
                return None
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
            self._called = False
        together = min(len(self._waiting), _MOST_TOGETHER)
        batch = [self._waiting.popleft() for _ in range(together)]
        if self._waiting:
            self._call()
        return [waiting for waiting in batch if not waiting.future.done()]

    def _all_fail(self, batch: list[_Waiting], told: Exception) -> None:
        for waiting in batch:
            _fail(waiting.future, told)
        while isinstance(told, StoreUnavailable) and self._waiting:
            _fail(self._waiting.popleft().future, told)  # it would meet the same

    async def _converse(self, connection: AbstractConnection, batch: list[_Waiting]) -> None:
        worked = connection.is_connected
        left = deque(batch)
        try:
            await self._exchange(connection, left)
        except (RedisConnectionError, OSError):
            if not worked:
                raise
            await self._exchange(connection, left)

    async def _exchange(self, connection: AbstractConnection, left: deque[_Waiting]) -> None:
        """Send what is left and settle it, one after the other as the answers come."""
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # not typed there
            unloaded = await self._round(connection, left)
            if unloaded:
                left.extend(unloaded)
                loads = {waiting.script.source for waiting in unloaded if waiting.script}
                await self._load(connection, loads)
                for waiting in await self._round(connection, left):
                    _fail(waiting.future, StoreUnavailable(f"{self.place} keeps no scripts"))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _round(self, connection: AbstractConnection, left: deque[_Waiting]) -> list[_Waiting]:
        """Make one round trip; give the operations whose script the server lacks: they changed nothing."""
        await connection.send_packed_command(
            b"".join(pack_command(waiting.parts) for waiting in left),  # type: ignore[arg-type]  # any tuple
            check_health=False,
        )
        unloaded: list[_Waiting] = []
        demoted = False
        while left:
            answer = await _answer(connection)
            waiting = left.popleft()
            if isinstance(answer, NoScriptError) and waiting.script is not None:
                unloaded.append(waiting)
            elif isinstance(answer, ResponseError):
                told = unavailable(answer, self.place)
                demoted = demoted or isinstance(answer, ReadOnlyError)
                _fail(waiting.future, told)
            elif not waiting.future.done():
                waiting.future.set_result(answer)
        if demoted:  # the address may lead to another server by now
            await connection.disconnect(nowait=True)
        return unloaded

    async def _load(self, connection: AbstractConnection, sources: Collection[str]) -> None:
        for source in sources:
            await connection.send_command("SCRIPT", "LOAD", source, check_health=False)
        for _ in sources:
            await connection.read_response()

    def _is_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the Redis {self.place} is closed; the worker is stopping")


async def _answer(connection: AbstractConnection) -> Any:  # noqa: ANN401  # what the server gives
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
