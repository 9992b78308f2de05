"""How many calls an endpoint bears at once, where nobody has said so: additive increase, multiplicative decrease.

The rule is TCP's (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989), in
the form of Netflix's `concurrency-limits`: it grows only while it is used, else an idle hour would say that
everything is allowed.
"""

from dataclasses import dataclass, field
from typing import Final

from worker.core.kinds import Kind

_FLOOR: Final = 1.0
_USED: Final = 0.5
_ALONE: Final = 1
# What one call counts in the share that was too much. Some fail by chance at any time: they say nothing of how many
# there are, and five of a hundred would keep a limit that each takes down below eight.
_WEIGHT: Final = 1 / 50
_TOLERATED: Final = 0.2
# vLLM and its like queue what they cannot serve: there the calls that take too long are the only sign of load.
_TOO_MUCH: Final = frozenset({Kind.RATE_LIMITED, Kind.OVERLOADED, Kind.TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyPolicy:
    """Where the limit begins, how far it may go, and what is left of it when the endpoint says too much.

    Raises:
        ValueError: not 1 <= start <= most, or `kept` is not in (0, 1).
    """

    start: int = 8
    most: int = 256
    kept: float = 0.7

    def __post_init__(self) -> None:
        if not 1 <= self.start <= self.most or not 0 < self.kept < 1:
            raise ValueError("expected 1 <= start <= most and 0 < kept < 1")


@dataclass(slots=True)
class Concurrency:
    """The calls that may be in flight; each call's end changes it in place.

    `since` is when it last fell, seconds of a monotonic clock. `doubted` is what it fell to first, of the falls since which
    no call has both begun and completed; 0: there is none. `share` of the latest calls were too much.
    """

    limit: float
    policy: ConcurrencyPolicy = field(default_factory=ConcurrencyPolicy)
    since: float = float("-inf")
    doubted: float = 0.0
    share: float = 0.0

    @classmethod
    def new(cls, policy: ConcurrencyPolicy) -> "Concurrency":
        """Give the limit of an endpoint of which nothing is known."""
        return cls(limit=float(policy.start), policy=policy)

    def admits(self, in_flight: int) -> bool:
        """Tell whether one more call may begin beside so many."""
        return in_flight < int(self.limit)

    def completed(self, *, began: float, in_flight: int) -> None:
        """Take note of a call that completed; `in_flight` counts it too. A limit's worth of them adds one."""
        self.share *= 1 - _WEIGHT
        if self.doubted and began >= self.since:
            self.limit = max(self.limit, self.doubted)
            self.doubted = 0.0
        elif in_flight >= self.limit * _USED:
            self.limit = min(self.limit + 1 / self.limit, float(self.policy.most))

    def failed(self, kind: Kind, *, began: float, now: float, in_flight: int) -> None:
        """Take note of a call that failed now so; `in_flight` counts it too.

        A refusal takes the limit down, and so does an overload or a time-out once they are more than a few of the latest
        calls; but only one that began after the last fall: those that failed together tell one thing. Other failures tell
        nothing, nor does a call that was alone.

        Where not even the fewer calls complete, the endpoint is down, and they are not too many. So with the first one that
        does the limit goes back to its first fall: a storm would else leave one call at a time of a hundred, for long.
        Only a refusal (429) says by itself what it means.
        """
        refused = kind is Kind.RATE_LIMITED
        if kind not in _TOO_MUCH or began < self.since or in_flight <= _ALONE:
            return
        self.share += _WEIGHT * (1 - self.share)
        if not refused and self.share <= _TOLERATED:
            return
        # What was in flight was too much; a limit far above it says nothing.
        self.limit = max(min(self.limit, float(in_flight)) * self.policy.kept, _FLOOR)
        self.doubted = 0.0 if refused else max(self.doubted, self.limit)
        self.since = now
        self.share = 0.0
