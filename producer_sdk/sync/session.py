"""An asynchronous client in a background loop: opened at its first use, closed once."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from producer_sdk.completions import Completions
from producer_sdk.sync.background import Background

R = TypeVar("R")


class Session:
    """One process's share of a synchronous client.

    Attributes:
        client: the asynchronous client; one that could not be opened is replaced, so that the next use tries again.
        background: where it lives.
        pid: the process that this is for.
    """

    def __init__(self, make: Callable[[], Completions]) -> None:
        self._make = make
        self._opening: asyncio.Task[None] | None = None
        self.client = make()
        self.background = Background(last=self._leave)
        self.pid = os.getpid()

    def call(self, work: Callable[[Completions], Coroutine[Any, Any, R]]) -> R:
        """Do `work` with the open client; raises what it raises, and as `Background.call`."""

        async def run() -> R:
            return await work(await self.opened())

        return self.background.call(run)

    async def opened(self) -> Completions:
        """Give the open client, in its loop; all who come while it is being opened share the one attempt."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_heard)
        await asyncio.shield(self._opening)
        return self.client

    def open(self) -> None:
        """Open the client now, if it is not open."""
        self.background.call(self.opened)

    def close(self) -> None:
        """Close the client and end its thread."""
        self.background.end()

    async def _open(self) -> None:
        try:
            await self.client.open()
        except BaseException:
            self.client, self._opening = self._make(), None
            raise

    async def _leave(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self.client.close()


def _heard(opening: asyncio.Task[None]) -> None:
    if not opening.cancelled():
        opening.exception()  # retrieved, in case that whoever asked for it waits no more
