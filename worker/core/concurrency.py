"""How many calls an endpoint bears at once, where nobody has said so: additive increase, multiplicative decrease.

The rule is TCP's (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989), in
the form of Netflix's `concurrency-limits`: it grows only while it is used, else an idle hour would say that
everything is allowed.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from worker.core.kinds import Kind

_FLOOR: Final = 1.0
_USED: Final = 0.5
_ALONE: Final = 1
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


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The calls that may be in flight; `since` is when it last fell, seconds of a monotonic clock."""

    limit: float
    policy: ConcurrencyPolicy = field(default_factory=ConcurrencyPolicy)
    since: float = float("-inf")

    @classmethod
    def new(cls, policy: ConcurrencyPolicy) -> "Concurrency":
        """Give the limit of an endpoint of which nothing is known."""
        return cls(limit=float(policy.start), policy=policy)

    def admits(self, in_flight: int) -> bool:
        """Tell whether one more call may begin beside so many."""
        return in_flight < int(self.limit)

    def after(
        self, kind: Kind | None, *, began: float, now: float, in_flight: int
    ) -> "Concurrency":
        """Give the limit after a call ended now so, None: it completed; `in_flight` counts it too.

        A limit's worth of completed calls adds one. A call that was too much takes it down, but only if it began
        after the last fall: those that were refused together tell one thing. Other failures tell nothing, nor does
        a call that was alone: a storm's probes would else leave an endpoint with one call at a time, for long.
        """
        if kind is None and in_flight >= self.limit * _USED:
            return replace(self, limit=min(self.limit + 1 / self.limit, float(self.policy.most)))
        if kind in _TOO_MUCH and began >= self.since and in_flight > _ALONE:
            # What was in flight was too much; a limit far above it says nothing.
            borne = min(self.limit, float(in_flight))
            return replace(self, limit=max(borne * self.policy.kept, _FLOOR), since=now)
        return self
