"""Whether the store answers: whatever waits for it waits here, and one look a second asks for all of a process."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Final, TypeVar

from worker.core.events import StoreBack, StoreLost
from worker.errors import StoreUnavailable, StoreUnusable
from worker.ports import Clock, Listener

S = TypeVar("S")

_LOOK_S: Final = 1.0
# The looks of several processes at one store should not fall together.
_JITTER: Final = 0.25


class Outage:
    """Begins with the first operation that the store fails, ends with the first write that it does.

    `run` looks for the end: once a second it asks `probe`, a cheap write, and lets one of those who wait go
    first, since a store can be able to do the one and not the other (a full disk). All others follow when that
    has worked. `follow` lets a part hear of both ends.

    `answering`: the store answers, as far as is known; for others to read. `under_way` is how many operations are: whoever does one counts it there. Nobody takes its silence for success.
    """

    def __init__(
        self,
        *,
        probe: Callable[[], Awaitable[bool]],
        clock: Clock,
        listener: Listener,
        chance: Callable[[], float] = random.random,
        look_s: float = _LOOK_S,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._listener = listener
        self._chance = chance
        self._look_s = look_s
        self._lost = asyncio.Event()
        self._since = 0.0
        self._failures = 0
        self.answering = True
        self.under_way = 0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._followers: list[Callable[[], None]] = []

    @property
    def waiting(self) -> int:
        """How many wait for the store."""
        return len(self._turns)

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` at the beginning and at the end of every outage."""
        self._followers.append(changed)

    def failed(self, error: StoreUnavailable) -> None:
        """Note that the store did not do an operation."""
        self._failures += 1
        if self.answering:
            self._since = self._clock.monotonic()
            self.answering = False
            self._lost.set()
            self._listener.tell(StoreLost(error=str(error)))
            self._tell_followers()

    def worked(self) -> None:
        """Note that the store has done a write: all that waits goes on."""
        if self.answering:
            return
        self.answering = True
        self._lost.clear()
        self._listener.tell(StoreBack(seconds=self._clock.monotonic() - self._since))
        self._tell_followers()
        while self._turns:
            self._let(self._turns.popleft())

    async def turn(self, *, first: bool = False) -> None:
        """Return when the store answers, or when it is this caller's turn to try whether it does.

        `first`: go before those who have nothing to lose by waiting.
        """
        if self.answering:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._turns.appendleft if first else self._turns.append)(turn)
        try:
            await turn
        finally:
            with suppress(ValueError):
                self._turns.remove(turn)

    async def run(self) -> None:
        """Look for the ends of outages, until cancelled."""
        failures_before_trial = None
        while True:
            await self._lost.wait()
            await asyncio.sleep(self._look_s * (1 + _JITTER * (2 * self._chance() - 1)))
            if self.answering or not await self._probe():
                failures_before_trial = None
            elif failures_before_trial == self._failures and self.under_way:
                pass  # who went first has not come back yet
            elif not self._turns or failures_before_trial == self._failures:
                # Nobody waits, or who went first has not failed: it may have had nothing to write.
                failures_before_trial = None
                self.worked()
            else:
                failures_before_trial = self._failures
                self._let(self._turns.popleft())

    def _tell_followers(self) -> None:
        for changed in self._followers:
            changed()

    @staticmethod
    def _let(turn: "asyncio.Future[None]") -> None:
        if not turn.done():
            turn.set_result(None)


async def opened(
    make: Callable[[], AbstractAsyncContextManager[S]],
    resources: AsyncExitStack,
    *,
    clock: Clock,
    listener: Listener,
    look_s: float = _LOOK_S,
) -> S:
    """Open a store as soon as it answers; `make` gives a fresh one for each try.

    Raises:
        SettingsError: it belongs to another program or to a newer Warren.
        StoreUnusable: an operator has to mend it.
    """
    began, why = clock.monotonic(), ""
    while True:
        try:
            store = await resources.enter_async_context(make())
        except StoreUnusable:
            raise
        except StoreUnavailable as error:
            if str(error) != why:
                why = str(error)
                listener.tell(StoreLost(error=why))
        else:
            if why:
                listener.tell(StoreBack(seconds=clock.monotonic() - began))
            return store
        await asyncio.sleep(look_s)
