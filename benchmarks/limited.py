"""How well a limit was kept and used, from the simulator's log of calls. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from benchmarks.bounds import Bound, Report
from stack.auditor import most_in_a_minute
from stack.callbook import Call

MOST_REFUSED = 0.01
LEAST_USE = 0.95
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many calls, or tokens, in any minute."""

    per_minute: int
    tokens: bool = False

    def used_by(self, call: Call) -> int:
        """Give what an accepted call counts; one that is still unanswered has no usage yet."""
        return (call.tokens or 0) if self.tokens else 1


def judge(calls: Sequence[Call], limit: Limit, *, seconds: float) -> Report:
    """Judge the calls of so many seconds from the first one on; later ones are left out.

    The use of a minute, or of what there is of it at the end, is what its accepted calls count of what the limit
    allows in that time.
    """
    began = min((call.began for call in calls), default=0.0)
    inside = [call for call in calls if call.began < began + seconds]
    refused = sum(call.refused for call in inside)
    accepted = [call for call in inside if not call.refused]
    uses = [
        _use(accepted, limit, began + _MINUTE_S * number, began + seconds)
        for number in range(ceil(seconds / _MINUTE_S))
    ]
    used = sum(limit.used_by(call) for call in accepted) / (limit.per_minute * seconds / _MINUTE_S)
    share = refused / len(inside) if inside else 0.0
    figures = {
        "seconds": seconds,
        "limit_per_minute": limit.per_minute,
        "limited": "tokens" if limit.tokens else "requests",
        "accepted": len(accepted),
        "refused": refused,
        "share_refused": round(share, 4),
        "use": round(used, 4),
        "use_by_minute": [round(use, 4) for use in uses],
        "most_calls_in_a_minute": most_in_a_minute(call.began for call in accepted),
    }
    bounds = [
        Bound(name="share of calls refused", figure=round(share, 4), below=MOST_REFUSED),
        Bound(name="use of the allowed rate", figure=round(used, 4), above=LEAST_USE),
        Bound(name="its lowest minute", figure=round(min(uses), 4), above=LEAST_USE),
    ]
    return Report(figures=figures, bounds=bounds)


def _use(accepted: Sequence[Call], limit: Limit, begin: float, last: float) -> float:
    """Give the use of the minute that begins so, or of what there is of it until `last`."""
    end = min(begin + _MINUTE_S, last)
    used = sum(limit.used_by(call) for call in accepted if begin <= call.began < end)
    return used / (limit.per_minute * (end - begin) / _MINUTE_S)
