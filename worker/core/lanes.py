"""What holds for a lane of a tier: as configured, as operators have set it since, and so whether it is open."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from worker.core.windows import Window, is_open, next_change

UNLIMITED: Final = 0


class Cause(StrEnum):
    """Why a lane's consumer takes nothing; each holds by itself, and it takes again when none is left."""

    LANE = "lane"  # its windows, or an operator
    ENDPOINTS = "endpoints"  # none of them takes calls
    STORE = "store"  # the ledger does not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRules:
    """How many jobs at once, how many calls a minute (`UNLIMITED`: any number), and when (no windows: always)."""

    concurrency: int
    per_minute: int = UNLIMITED
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What operators want of a lane besides its configuration; None: as configured."""

    paused: bool = False
    reason: str | None = None
    concurrency: int | None = None
    per_minute: int | None = None
    windows: tuple[Window, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The lane starts no call; `until` is when its windows open, None: when an operator resumes it."""

    reason: str
    until: datetime | None


NO_ORDERS: Final = Orders()


def under(rules: LaneRules, orders: Orders) -> LaneRules:
    """Give the rules that hold under the orders."""
    return LaneRules(
        concurrency=rules.concurrency if orders.concurrency is None else orders.concurrency,
        per_minute=rules.per_minute if orders.per_minute is None else orders.per_minute,
        windows=rules.windows if orders.windows is None else orders.windows,
    )


def closed(rules: LaneRules, orders: Orders, now: datetime) -> Closed | None:
    """Tell why a lane is closed at an instant; None: it is open. `rules` are those under the orders."""
    if orders.paused:
        return Closed(reason=orders.reason or "paused by an operator", until=None)
    if is_open(rules.windows, now):
        return None
    return Closed(reason="outside its windows", until=next_change(rules.windows, now))
