"""How many jobs of a lane may be at what at once: an operator may change that while they are."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType


class Slots:
    """So many may be inside at once, first come, first served; use with `async with`.

    Made smaller than what is inside, it lets nobody in until enough have left.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def size(self) -> int:
        """How many may be inside."""
        return self._size

    def locked(self) -> bool:
        """Tell whether who comes now has to wait."""
        return self._taken >= self._size or bool(self._waiting)

    def resize(self, size: int) -> None:
        """Let so many in from now on."""
        self._size = size
        self._wake()

    def take(self) -> bool:
        """Come in at once if there is room; False: wait for a `turn`. Whoever is inside has to `leave`."""
        if self._taken >= self._size or self._waiting:
            return False
        self._taken += 1
        return True

    async def turn(self) -> None:
        """Wait until there is room, and come in; cancelled: not in."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn  # whoever ends it has counted us in
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave()  # the turn had come
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give the room to whoever waits longest."""
        self._taken -= 1
        if self._waiting:
            self._wake()

    async def __aenter__(self) -> None:
        if not self.take():
            await self.turn()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def _wake(self) -> None:
        while self._waiting and self._taken < self._size:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


@dataclass(frozen=True, slots=True)
class LaneSlots:
    """What the deliveries of a tier's lane share.

    `calls` is the worker's own bound on calls in flight: after a cut, old calls and new deliveries together
    stay under it. `followers` is how many may wait in place for another's call: at most half of the slots,
    so that a lane full of one fingerprint still takes other work. `calling` are the jobs in a call now.
    """

    calls: Slots
    followers: Slots
    attempt_timeout: timedelta
    calling: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, concurrency: int, attempt_timeout: timedelta) -> "LaneSlots":
        """Give the slots of a lane with so many calls in flight at most."""
        return cls(Slots(concurrency), Slots(concurrency // 2), attempt_timeout)

    def resize(self, concurrency: int) -> None:
        """Let so many calls be in flight from now on; those that are go on."""
        self.calls.resize(concurrency)
        self.followers.resize(concurrency // 2)
