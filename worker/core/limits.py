"""How much of an account's requests or tokens a minute is used, and whether another call fits.

Two rules hold at once. The minute is the promise: a window that slides by slots of half a second, so that a look at
it costs the same whatever the limit. The pace only spreads the minute, so that no burst eats it.

Instants are whole microseconds of one clock, the store's. Every function is pure; a store keeps one `Level` for
each meter and changes it in one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

SLOT_US: Final = 500_000
# A call reaches the upstream a little after it was let go: the minute is counted a second longer, so that the
# upstream never sees more in its own.
SPAN_US: Final = 61_000_000
# The slot that is being filled, and those of which a part may lie within the span.
SLOTS: Final = SPAN_US // SLOT_US + 1
# In so long a whole limit can be used, evenly, again and again: what is counted leaves with the end of its slot.
_EVEN_US: Final = SPAN_US + SLOT_US
# How far the pace may be run ahead of, and the most that one charge takes of it: so no wait for the pace alone is
# longer than a delivery may be held.
AHEAD_US: Final = 1_000_000
LONGEST_US: Final = 2_000_000
# Many who wait ask less often for it; far below `AHEAD_US`, so that none of the pace is lost.
_LEAST_WAIT_US: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What is counted under one name over all workers, and the most of it in any minute; below one counts as one.

    The limit is the asker's: another one holds at once, for what is counted already too.
    """

    name: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """So much on a meter, not below zero."""

    meter: Meter
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The right to start a call now, counted with these charges. The rest is the store's, for settling.

    `slot` None: nothing is counted. `own`: it is counted by this process alone, and no store knows of it.
    """

    charges: tuple[Charge, ...] = ()
    slot: int | None = None
    number: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True)
class Used:
    """What a call has really used of what was taken for it, in the order of the charges; see `ports.Limits.settle`."""

    taken: Taken
    amounts: Sequence[int]


NOTHING_TAKEN: Final = Taken()


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """No call may start before so much time has passed, for this meter's sake."""

    wait: timedelta
    meter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a meter has counted: the amounts of its latest slots, oldest first, and the pace.

    `newest` is the last slot's number since the epoch. `paced_until` is when the pace is even again (the theoretical arrival
    time of the generic cell rate algorithm, ITU-T I.371).
    """

    newest: int = 0
    amounts: tuple[int, ...] = (0,) * SLOTS
    paced_until: int = 0


def aged(level: Level, now: int) -> Level:
    """Give the level as it is now: what is older than the span is gone.

    Where the clock was put back, what lies ahead of it counts as of now, so that nobody waits for longer than a span.
    """
    by = now // SLOT_US - level.newest
    paced_until = min(level.paced_until, now + AHEAD_US + LONGEST_US)
    if by == 0 and paced_until == level.paced_until:
        return level
    if by >= 0:
        amounts = level.amounts[by:] + (0,) * min(by, SLOTS)
    else:
        still = max(0, SLOTS + by)
        ahead = sum(level.amounts[still:])
        behind = (0,) * SLOTS + level.amounts[:still]
        amounts = (*behind[-SLOTS:-1], behind[-1] + ahead)
    return Level(newest=level.newest + by, amounts=amounts, paced_until=paced_until)


def allowed(charge: Charge) -> int:
    """Give the most that may be counted already for the charge to fit: one beyond the limit fits nothing but none."""
    return max(0, max(1, charge.meter.limit) - charge.amount)


def pace(charge: Charge) -> int:
    """Give how long the charge takes at the even pace of its limit, in microseconds."""
    return _pace(charge.amount, charge.meter)


def _pace(amount: int, meter: Meter) -> int:
    return min(amount * _EVEN_US // max(1, meter.limit), LONGEST_US)


def wait_us(level: Level, charge: Charge, now: int) -> int:
    """Tell how long the charge must wait at the least; 0: it fits now. The level is of now.

    If nothing else comes meanwhile, it fits after that.
    """
    wait = level.paced_until - AHEAD_US - now
    over = sum(level.amounts) - allowed(charge)
    if over > 0:
        wait = max(wait, _leaves_at(level, over) - now)
    return max(wait, 0)


def _leaves_at(level: Level, over: int) -> int:
    """Tell when so much has left the span."""
    number = level.newest - SLOTS
    for amount in level.amounts:
        number += 1
        over -= amount
        if over <= 0:
            break
    return (number + 1) * SLOT_US + SPAN_US


def counted(level: Level, charge: Charge, now: int) -> Level:
    """Give the level with the charge counted. The level is of now."""
    return Level(
        newest=level.newest,
        amounts=level.amounts[:-1] + (level.amounts[-1] + charge.amount,),  # noqa: RUF005  # in half the time
        paced_until=max(level.paced_until, now) + pace(charge),
    )


def settled(level: Level, charge: Charge, amount: int, slot: int) -> Level:
    """Give the level with what was really used in place of a charge that was counted in the slot. The level is of now.

    What was too much is taken off the slot, if that still counts; what was too little counts from now, when it became known.
    """
    more = amount - charge.amount
    at = min(slot - level.newest + SLOTS - 1, SLOTS - 1) if more < 0 else SLOTS - 1
    amounts = level.amounts
    if at >= 0:
        amounts = (*amounts[:at], max(0, amounts[at] + more), *amounts[at + 1 :])
    paced_until = level.paced_until + pace_change(charge, amount)
    return Level(newest=level.newest, amounts=amounts, paced_until=paced_until)


def pace_change(charge: Charge, amount: int) -> int:
    """Give by how much the pace changes when a charge is settled, in microseconds.

    The whole of it, however long ago: the pace keeps no promise, and estimates that are too high would else slow it.
    """
    return _pace(amount, charge.meter) - pace(charge)


def longest(waits: Sequence[int], charges: Sequence[Charge]) -> Full | None:
    """Give the refusal for the longest of the charges' waits, in microseconds; None: all of them fit."""
    wait = max(waits, default=0)
    if wait == 0:
        return None
    name = charges[waits.index(wait)].meter.name
    return Full(wait=timedelta(microseconds=max(wait, _LEAST_WAIT_US)), meter=name)


def charges(
    name: str, *, requests_per_minute: int, tokens_per_minute: int, tokens: int
) -> tuple[Charge, ...]:
    """Give what one call of so many tokens charges an account; a limit of 0 is none, and charges nothing.

    Settle them with `used`.
    """
    limits = (("requests", requests_per_minute, 1), ("tokens", tokens_per_minute, tokens))
    return tuple(
        Charge(meter=Meter(name=f"endpoint:{name}:{what}", limit=limit), amount=amount)
        for what, limit, amount in limits
        if limit
    )


def used(taken: Taken, tokens: int | None) -> list[int]:
    """Give the amounts to settle with after a call that used so many tokens; None: not known, so as estimated."""
    return [
        tokens if tokens is not None and charge.meter.name.endswith(":tokens") else charge.amount
        for charge in taken.charges
    ]
