"""The connection to a Redis: operations that wait together travel together, in order, and none is cut in half."""

import asyncio
from collections import deque
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

# Bounds how much is written before what was answered is looked at.
_MOST_TOGETHER: Final = 128
# An operation is sent so many times at most, when connections break under it.
_MOST_SENDS: Final = 2


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    packed: bytes
    future: asyncio.Future[Any]
    script: Script | None = None
    sends: int = 0


class RedisConnection:
    """One connection, which is made anew when it breaks, and what waits for an answer.

    An operation is a script or a command. They run in the order in which they were asked for, and none waits for
    the answer of the one before; each succeeds or fails by itself. The tasks that talk belong to this object: a
    caller that is cancelled leaves its operation done or not done, and the connection whole.

    When a connection breaks that has worked, what it left unanswered is sent once more over a new one: so an
    operation must be safe to repeat, also out of its order. One that was not answered in time fails.
    """

    def __init__(self, options: RedisOptions) -> None:
        self.place = where(options.url)
        self.options = options
        self._timeout_s = options.timeout.total_seconds()
        self._waiting: deque[_Waiting] = deque()
        self._sent: deque[_Waiting] = deque()
        self._to_send = asyncio.Event()
        self._to_read = asyncio.Event()
        self._again = 0  # so many of those that wait were sent before, and come first
        self._worked = False
        self._closed = True
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to serve, and make sure that the server answers.

        Raises:
            StoreUnavailable: it does not.
        """
        self._closed = False
        self._task = asyncio.create_task(self._serve(), name="redis")
        try:
            await self.command("PING")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Wait for what was sent, and hang up; what still waits fails with `StoreUnavailable`."""
        self._closed = True
        self._all_fail(self._waiting, self._is_closed())
        self._to_send.set()
        self._to_read.set()
        if self._task is not None:
            await asyncio.shield(self._task)

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
        return await self._put(parts)

    def submit_command(self, *parts: Part) -> asyncio.Future[Any]:
        """Queue a plain command; cancelling the future may come too late."""
        return self._put(parts)

    def submit(self, script: Script, *arguments: Part) -> asyncio.Future[Any]:
        """Queue a script's run; cancelling the future may come too late."""
        return self._put(("EVALSHA", script.sha, 1, self.key(), *arguments), script)

    def _put(self, parts: tuple[Part, ...], script: Script | None = None) -> asyncio.Future[Any]:
        if self._closed:
            raise self._is_closed()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(packed=_packed(parts), future=future, script=script))
        self._to_send.set()
        return future

    # From here on: the task.

    async def _serve(self) -> None:
        connection: AbstractConnection = pool(self.options).make_connection()  # type: ignore[no-untyped-call]  # not typed there
        while not self._closed and await self._wanted():
            self._worked = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()  # type: ignore[no-untyped-call]  # not typed there
                await self._talk(connection)
            except Exception as error:  # noqa: BLE001  # a task's border: each caller gets the error
                self._broken(error)
            finally:
                await connection.disconnect(nowait=True)
        self._all_fail(self._waiting, self._is_closed())  # what was to be sent again

    async def _wanted(self) -> bool:
        """Wait until there is something to send; False: there will be nothing any more."""
        await self._to_send.wait()
        return not self._closed

    async def _talk(self, connection: AbstractConnection) -> None:
        writing = asyncio.create_task(self._write(connection), name="redis-writer")
        try:
            await self._read(connection)
        finally:
            writing.cancel()
            # What broke it breaks the reading too, which tells.
            with suppress(Exception, asyncio.CancelledError):
                await writing

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._to_send.wait()
            packed: list[bytes] = []
            while self._waiting and len(packed) < _MOST_TOGETHER:
                waiting = self._waiting.popleft()
                self._again = max(0, self._again - 1)
                if not waiting.future.done():
                    waiting.sends += 1
                    packed.append(waiting.packed)
                    self._sent.append(waiting)
            if not self._waiting:
                self._to_send.clear()
            if packed:
                self._to_read.set()
                await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            while not self._sent:
                if self._closed:
                    return
                self._to_read.clear()
                await self._to_read.wait()
            async with asyncio.timeout(self._timeout_s):
                for _ in range(len(self._sent)):
                    answer = await _answer(connection)
                    self._worked = True
                    self._settle(self._sent.popleft(), answer)

    def _settle(self, waiting: _Waiting, answer: object) -> None:
        if isinstance(answer, NoScriptError) and waiting.script is not None:
            self._load(waiting, waiting.script)
        elif isinstance(answer, ResponseError):
            _fail(waiting.future, unavailable(answer, self.place))
            if isinstance(answer, ReadOnlyError):
                # The address may lead to another server by now: look again.
                raise RedisConnectionError(str(answer)) from answer
        elif not waiting.future.done():
            waiting.future.set_result(answer)

    def _load(self, waiting: _Waiting, script: Script) -> None:
        loaded: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        loaded.add_done_callback(heed)
        load = _Waiting(packed=_packed(("SCRIPT", "LOAD", script.source)), future=loaded)
        waiting.script = None  # loaded once, and did nothing yet
        waiting.sends -= 1
        self._send_again(load)
        self._send_again(waiting)

    def _send_again(self, waiting: _Waiting) -> None:
        self._waiting.insert(self._again, waiting)
        self._again += 1
        self._to_send.set()

    def _broken(self, error: Exception) -> None:
        """Let what was not answered be sent once more, or fail."""
        told = unavailable(error, self.place)
        self._to_send.clear()
        if not self._worked or not isinstance(error, RedisConnectionError):
            self._all_fail(self._sent, told)
            self._all_fail(self._waiting, told)  # they would meet the same
            self._again = 0
        while self._sent:
            waiting = self._sent.popleft()
            if waiting.sends < _MOST_SENDS and not self._closed:
                self._send_again(waiting)
            else:
                _fail(waiting.future, told)
        if self._waiting or self._closed:
            self._to_send.set()

    def _all_fail(self, those: deque[_Waiting], told: Exception) -> None:
        while those:
            _fail(those.popleft().future, told)

    def _is_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"the Redis {self.place} is closed; the worker is stopping")


async def _answer(connection: AbstractConnection) -> object:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _packed(parts: tuple[Part, ...]) -> bytes:
    packed: bytes = pack_command(parts)  # type: ignore[arg-type]  # its stub names a tuple of one
    return packed


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def heed(future: asyncio.Future[Any]) -> None:
    """Take note of how it ended, for one whose end nobody waits for."""
    if not future.cancelled():
        future.exception()
