"""Counting what the simulator saw, by its own clock."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

_MINUTE_S = 60.0


class Timed(Protocol):
    @property
    def at(self) -> float: ...


def most_in_a_minute(calls: Iterable[Timed]) -> int:
    """Give the largest number of calls that began in any 60 seconds."""
    most, recent = 0, deque[float]()
    for at in sorted(call.at for call in calls):
        recent.append(at)
        while recent[0] <= at - _MINUTE_S:
            recent.popleft()
        most = max(most, len(recent))
    return most
