"""The port `Limits` in one process's memory: what a worker counts by itself while it calls without its store."""

from collections.abc import Sequence

from worker.core.limits import Charge, Full, Level, Taken, aged, counted, longest, settled, wait_us
from worker.ports import Clock


class OwnLimits:
    """Counts what this process alone uses of the limits; a meter takes about 1 KB, and there are two for an account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: dict[str, Level] = {}

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        """Count all charges, or none and say how long to wait; see `Limits.take`."""
        now = self._now()
        levels = [self._level(charge, now) for charge in charges]
        waits = [wait_us(level, charge, now) for level, charge in zip(levels, charges, strict=True)]
        full = longest(waits, charges)
        if full is not None:
            return full
        for level, charge in zip(levels, charges, strict=True):
            self._levels[charge.meter.name] = counted(level, charge, now)
        slot = levels[0].newest if levels else None
        return Taken(charges=tuple(charges), slot=slot, own=True)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used; see `Limits.settle`."""
        if taken.slot is None:
            return
        now = self._now()
        for charge, amount in zip(taken.charges, amounts, strict=True):
            if amount != charge.amount:
                level = self._level(charge, now)
                self._levels[charge.meter.name] = settled(level, charge, amount, taken.slot)

    def _level(self, charge: Charge, now: int) -> Level:
        level = aged(self._levels.get(charge.meter.name, Level()), now)
        self._levels[charge.meter.name] = level
        return level

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1_000_000)
