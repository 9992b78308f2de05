"""What the probes know: the loop's pulse, and which parts are ready. Written by the loop, read by threads.

Each change puts one immutable value in the place of another, so a reader sees a state that was there.
"""

from collections.abc import Iterable
from typing import Final

from worker.ports import Clock

BROKER: Final = "broker"
STORE: Final = "store"


class Pulse:
    """Shows that the event loop turns: the app calls `beat` from it every second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.monotonic()

    def beat(self) -> None:
        """Note that the loop has come here."""
        self._last = self._clock.monotonic()

    def age_s(self) -> float:
        """Give the seconds since the last beat, or since the start before the first."""
        return self._clock.monotonic() - self._last


class Readiness:
    """Which parts are ready to work: the broker, the store, and the consumer of every lane.

    At first none is. A worker that drains is not ready, whatever its parts are.
    """

    def __init__(self, lanes: Iterable[str]) -> None:
        self._parts = (BROKER, STORE, *(f"consumer {lane}" for lane in lanes))
        self._ready: frozenset[str] = frozenset()
        self._draining = False

    def broker(self, *, connected: bool) -> None:
        """Note whether RabbitMQ is connected."""
        self._mark(BROKER, ready=connected)

    def store(self, *, ok: bool) -> None:
        """Note whether the store can be read and written."""
        self._mark(STORE, ready=ok)

    def consumer(self, lane: str, *, consuming: bool) -> None:
        """Note whether the lane's deliveries are taken. A lane that nobody configured changes nothing."""
        self._mark(f"consumer {lane}", ready=consuming)

    def draining(self) -> None:
        """Note that the worker takes no more, until it stops."""
        self._draining = True

    def missing(self) -> tuple[str, ...]:
        """Give what is not ready, in a fixed order; nothing: the worker is ready."""
        ready = self._ready
        missing = tuple(part for part in self._parts if part not in ready)
        return ("draining", *missing) if self._draining else missing

    def _mark(self, part: str, *, ready: bool) -> None:
        self._ready = self._ready | {part} if ready else self._ready - {part}
