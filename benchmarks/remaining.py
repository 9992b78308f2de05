"""How long a run of several measurements still takes: what they take about, corrected by what they took until now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long each part takes about, in seconds."""

    about_s: Sequence[float]

    def left_s(self, done: float, took_s: float) -> float:
        """Give the seconds left when `done` parts, and a share of one, took so long."""
        whole, share = divmod(done, 1)
        past = sum(self.about_s[: int(whole)])
        past += share * self.about_s[int(whole)] if share else 0
        pace = took_s / past if past else 1.0
        return (sum(self.about_s) - past) * pace


def said(seconds: float) -> str:
    """Give a time as people say it."""
    if seconds < _MINUTE_S:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min"
