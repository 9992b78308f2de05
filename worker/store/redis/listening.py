"""Hearing what others publish: a second connection, which is made anew when it breaks."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from worker.store.redis.address import pool
from worker.store.redis.options import RedisOptions

# What is published between a break and the next connection is lost: who listens must have another way to know.
_PAUSE_S: Final = 1.0


class Listening:
    """Tells of every message of one channel, as long as there is a connection."""

    def __init__(self, options: RedisOptions, channel: str, heard: Callable[[bytes], None]) -> None:
        self._options = options
        self._channel = channel
        self._heard = heard
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to listen. Errors: `RedisError`, `OSError`."""
        connection: AbstractConnection = pool(self._options).make_connection()  # type: ignore[no-untyped-call]  # not typed there
        try:
            await self._subscribe(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._task = asyncio.create_task(self._listen(connection), name="redis-listening")

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self, connection: AbstractConnection) -> None:
        try:
            while True:
                with suppress(RedisError, OSError):
                    if not connection.is_connected:
                        await self._subscribe(connection)
                    while True:
                        self._tell(await connection.read_response(timeout=math.inf))
                await connection.disconnect(nowait=True)
                await asyncio.sleep(_PAUSE_S)
        finally:
            await connection.disconnect(nowait=True)

    async def _subscribe(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(self._options.timeout.total_seconds()):
            await connection.connect()  # type: ignore[no-untyped-call]  # not typed there
            await connection.send_command("SUBSCRIBE", self._channel)
            await connection.read_response()

    def _tell(self, answer: Any) -> None:  # noqa: ANN401  # what the server sends
        match answer:
            case [b"message", _, bytes(message)]:
                self._heard(message)
            case _:
                return
