"""In which parking queue a job waits, and for how long.

A parking queue has one TTL for all its messages, and a message may carry a shorter one of its own. But a
classic queue lets go only at its head, so a message with a much shorter TTL would wait for those before it.
Hence a message's own TTL lies close below its queue's, and a longer wait is walked in several hops: whoever
gets a job back before its time parks it again for what remains.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

# A message's own TTL is at least this share of its queue's: what stands before it holds it up by no more
# than the rest. Also the least share of a wait that `spread` leaves.
CLOSE: Final = 0.8
SHORTEST: Final = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A parking queue `warren.park.<name>` and its TTL."""

    name: str
    ttl: timedelta


LEVELS: Final = (
    Level(name="2s", ttl=timedelta(seconds=2)),
    Level(name="10s", ttl=timedelta(seconds=10)),
    Level(name="1m", ttl=timedelta(minutes=1)),
    Level(name="5m", ttl=timedelta(minutes=5)),
    Level(name="30m", ttl=timedelta(minutes=30)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One stay in a parking queue; `ttl` is the message's own and at most the level's."""

    level: Level
    ttl: timedelta


def hop(remaining: timedelta) -> Hop:
    """Give the next hop of a wait: the last one if a queue fits, else the longest that is not too long.

    A wait that is too short for any queue, or over, takes the shortest queue, with a TTL of at least
    `SHORTEST` lest it come back in a hot loop.
    """
    fitting = next((level for level in LEVELS if level.ttl >= remaining), None)
    if fitting is not None and remaining >= CLOSE * fitting.ttl:
        return Hop(level=fitting, ttl=remaining)
    below = [level for level in LEVELS if level.ttl <= remaining]
    if below:
        return Hop(level=below[-1], ttl=below[-1].ttl)
    return Hop(level=LEVELS[0], ttl=max(remaining, SHORTEST))


def spread(after: timedelta, chance: float) -> timedelta:
    """Give a wait within [0.8, 1.0] of `after`, so that what was parked together comes back spread out.

    `chance` is a random number within [0, 1).
    """
    return after * (1 - (1 - CLOSE) * chance)
