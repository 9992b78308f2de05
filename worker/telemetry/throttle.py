"""Keeps a storm of the same line from flooding the log, and says how many lines it left out."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from worker.ports import Clock

Key: TypeAlias = tuple[str, ...]

# Past so many different keys in one period, further ones share one allowance: memory stays bounded.
_MOST_KEYS: Final = 64
_SHARED: Final[Key] = ("lines of many kinds",)


@dataclass(slots=True)
class _Allowance:
    until: float
    used: int = 0
    left_out: int = 0


class Throttle:
    """Lets the first `burst` lines of a key pass in each period of `period_s` seconds.

    At most `burst` x 65 lines pass in a period, whatever comes. Not for several threads at once.
    """

    def __init__(self, clock: Clock, *, burst: int = 5, period_s: float = 60.0) -> None:
        self._clock = clock
        self._burst = burst
        self._period_s = period_s
        self._allowances: dict[Key, _Allowance] = {}

    def take(self, *key: str) -> int | None:
        """Say None to leave a line of this key out, else how many were left out before this one."""
        now = self._clock.monotonic()
        allowance = self._allowances.get(key) or self._new(key, now)
        left_out = 0
        if now >= allowance.until:
            left_out = allowance.left_out
            allowance.until, allowance.used, allowance.left_out = now + self._period_s, 0, 0
        if allowance.used < self._burst:
            allowance.used += 1
            return left_out
        allowance.left_out += 1
        return None

    def sweep(self) -> list[tuple[Key, int]]:
        """Forget the keys whose period is over, and give those of them that had lines left out, counted.

        To be called now and then, so that the end of a storm is told too.
        """
        now = self._clock.monotonic()
        over = [key for key, each in self._allowances.items() if now >= each.until]
        counts = [(key, self._allowances.pop(key).left_out) for key in over]
        return [(key, count) for key, count in counts if count]

    def _new(self, key: Key, now: float) -> _Allowance:
        if len(self._allowances) >= _MOST_KEYS:
            quiet = [k for k, a in self._allowances.items() if now >= a.until and not a.left_out]
            for each in quiet:
                del self._allowances[each]
        room = len(self._allowances) < _MOST_KEYS
        return self._allowances.setdefault(
            key if room else _SHARED, _Allowance(until=now + self._period_s)
        )
