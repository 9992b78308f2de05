"""Connections to the simulated broker: two pipes that keep order and take time, and two ends that notice a cut.

A cut loses what is in the pipes; each end notices when the world lets it. What a killed process had written still
arrives.
"""

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from tests.simulation.queues import Broker

if TYPE_CHECKING:
    from tests.simulation.channels import Channel
    from tests.simulation.process import Process


class Pipe:
    """One direction of a connection."""

    def __init__(self, process: "Process", context: Context) -> None:
        self.stalled_until = 0.0
        self.cut = False
        self._loop = process.world.loop
        self._weather = process.world.weather
        self._context = context
        self._last = 0.0
        self._acts: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def send(self, act: Callable[..., object], *args: object) -> None:
        """Let `act` happen at the other end, after all that was sent before."""
        if self.cut:
            return
        loop = self._loop
        now = loop.time()
        at = max(self._last, self.stalled_until, now + self._weather.wire_s())
        self._acts.append((act, args))
        if at <= now:
            loop.call_soon(self._arrive, context=self._context)
        else:
            self._last = at
            loop.call_at(at, self._arrive, context=self._context)

    def _arrive(self) -> None:
        if self._acts and not self.cut:
            act, args = self._acts.popleft()
            act(*args)


class Connection:
    """One connection; `open` as the client sees it, `standing` as the broker does."""

    blocked = False

    def __init__(self, broker: Broker, process: "Process") -> None:
        self.broker = broker
        self.process = process
        self.open = self.standing = True
        self.up = Pipe(process, process.world.loop.world)
        self.down = Pipe(process, process.context)
        self.channels: list[Channel] = []

    async def ready(self) -> None:
        """Return: no alarm blocks it."""

    def drop(self) -> None:
        """Lose what is on its way."""
        self.up.cut = self.down.cut = True

    def lose_at_broker(self) -> None:
        """Let the broker notice: what is out is delivered again."""
        if self.standing:
            self.standing = False
            for channel in self.channels:
                channel.leave()

    def lose_at_client(self) -> None:
        """Let the client notice: all that it waits for fails."""
        if self.open:
            self.open = False
            for channel in self.channels:
                channel.fail()
