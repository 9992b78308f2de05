"""Waiting for a claim's release: told by whoever hears of it, found by one poller for all others."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias

from worker.errors import StoreUnavailable

Held: TypeAlias = Callable[[Collection[str]], Awaitable[frozenset[str]]]


class Watch:
    """All waits of one process. `held` tells which of some keys are held by somebody alive.

    What nobody tells of is found after `poll_s` at the latest. There is no poller while nobody waits.
    """

    def __init__(self, held: Held, *, poll_s: float) -> None:
        self._held = held
        self._poll_s = poll_s
        self._awaited: dict[str, set[asyncio.Future[None]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def until_free(self, key: str, at_most: timedelta) -> None:
        """Return as soon as nobody alive holds the key, at the latest after `at_most`."""
        woken = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(key, set()).add(woken)
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                if key in await self._held([key]):
                    if self._poller is None or self._poller.done():
                        self._poller = asyncio.create_task(self._poll())
                    await woken
        except TimeoutError:
            return
        finally:
            self._forget(key, woken)

    def wake(self, key: str) -> None:
        """End all waits for the key."""
        for woken in self._awaited.pop(key, ()):
            if not woken.done():
                woken.set_result(None)

    async def close(self) -> None:
        """Stop the poller and end all waits."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        for key in tuple(self._awaited):
            self.wake(key)

    async def _poll(self) -> None:
        while self._awaited:
            await asyncio.sleep(self._poll_s)
            keys = tuple(self._awaited)
            # A store that cannot be read now tells nothing: the waits end by their own time.
            with suppress(StoreUnavailable):
                held = await self._held(keys)
                for key in keys:
                    if key not in held:
                        self.wake(key)

    def _forget(self, key: str, woken: asyncio.Future[None]) -> None:
        waiting = self._awaited.get(key)
        if waiting is not None:
            waiting.discard(woken)
            if not waiting:
                del self._awaited[key]
