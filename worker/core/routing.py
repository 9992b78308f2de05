"""Which endpoint takes the next try, and how long one that refused is left alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Failed

LONGEST_HOLD: Final = timedelta(minutes=5)
"""No endpoint is left alone for longer at a stretch: whatever it said may have changed since."""

_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An endpoint as the choice sees it. `weight` is above zero: twice the weight, twice the calls."""

    name: str
    weight: float = 1.0
    in_flight: int = 0
    held: bool = False


def choose(
    candidates: Sequence[Candidate], *, turn: int = 0, avoid: str | None = None
) -> int | None:
    """Give the index of the endpoint that takes the next try; None: none takes any now.

    Those that are held are out. Of the rest the one with the fewest calls in flight per weight is taken;
    between equals the configured order decides, beginning `turn` places further each time, so that an
    idle tier spreads its calls too. `avoid` is taken only if nothing else is left.
    """
    count = len(candidates)
    ready = [index for index in range(count) if not candidates[index].held]
    others = [index for index in ready if candidates[index].name != avoid]
    return min(
        others or ready,
        key=lambda index: (
            candidates[index].in_flight / candidates[index].weight,
            (index - turn) % count,
        ),
        default=None,
    )


def hold_time(failed: Failed, *, in_a_row: int, recheck: timedelta) -> timedelta | None:
    """Give how long the endpoint takes no calls after this failure; None: it is not held.

    A rate limit holds it for what it asked for, and not at all if it did not ask: then only this job
    waits. A refused key or an empty account holds it for `recheck`, doubled for each time `in_a_row` that
    a new look found it unmended. Never longer than `LONGEST_HOLD`.
    """
    asked = failed.retry_after or timedelta()
    if failed.kind is Kind.RATE_LIMITED:
        return min(asked, LONGEST_HOLD) if asked else None
    if RULES[failed.kind].cure is not Cure.OPERATOR:
        return None
    doubled_s = recheck.total_seconds() * 2.0 ** min(in_a_row, _MOST_DOUBLINGS)
    longest_s = LONGEST_HOLD.total_seconds()
    return timedelta(seconds=min(max(doubled_s, asked.total_seconds()), longest_s))
