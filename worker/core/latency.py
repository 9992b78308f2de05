"""What is known of an endpoint from its calls: how long they took, how many failed, and since when it is silent."""

import math
from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.3
"""The least weight of the newest call in a mean of durations."""

ERROR_ALPHA: Final = 0.1
"""The same in the share that failed: one failure of a sound endpoint must not look like a habit."""

MEMORY_S: Final = 10.0
"""What was seen so long ago has lost 1 - 1/e of its weight (the decay of Finagle's and linkerd's Peak EWMA)."""

_MOST_OF_AN_ERROR: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Observed:
    """One endpoint's calls so far; each call changes it in place. Durations and instants in seconds, instants of a monotonic clock.

    `latency_s`: the mean duration of completed calls, newer ones weigh more. `peak_s`: the same, but a longer
    one counts at once and in full, and is forgotten with time. Both are None until a call has completed.
    `at_least_s`: while nothing completed, how long the longest call was that ended without an answer.
    `error_rate`: the share of calls that failed, in [0, 1]. `told_at`, `began_at`: the last news, the last call that began.
    `unanswered_since`: when the first call began since the last news.
    """

    latency_s: float | None = None
    peak_s: float | None = None
    at_least_s: float = 0.0
    error_rate: float = 0.0
    told_at: float = -math.inf
    began_at: float = -math.inf
    unanswered_since: float | None = None

    def began(self, at: float) -> None:
        """Take note of a call that began: its answer is awaited before anybody looks again for being long silent."""
        if self.unanswered_since is None:
            self.unanswered_since = at
        self.began_at = max(self.began_at, at)

    def ended(self, *, seconds: float, failed: bool, at: float) -> None:
        """Take note of a call that ended: `failed` if the endpoint, not the request, was at fault.

        A failure never makes an endpoint look faster, only slower if it took longer than what is known:
        otherwise one that refuses everything at once would draw all calls (Google SRE Book, chapter 20,
        "sinkholing").
        """
        fresh = 0.0
        if at > self.told_at:
            fresh = 1 - math.exp((self.told_at - at) / MEMORY_S)
            self.told_at = at
        if failed or self.error_rate:
            weight = min(max(fresh, ERROR_ALPHA), _MOST_OF_AN_ERROR)
            self.error_rate += weight * (failed - self.error_rate)
        self.unanswered_since = None
        if failed:
            self._takes_at_least(seconds)
        else:
            self.latency_s = _mean(self.latency_s, seconds, max(fresh, ALPHA))
            self.peak_s = max(_mean(self.peak_s, seconds, fresh), seconds)
            self.at_least_s = 0.0

    def answered(self, *, at: float) -> None:
        """Take note of an answer that tells nothing of how long calls take: the request was at fault."""
        self.error_rate *= 1 - ERROR_ALPHA
        self.told_at = max(at, self.told_at)
        self.unanswered_since = None

    def cut_off(self, *, seconds: float) -> None:
        """Take note of a call that we closed after `seconds`: it would have taken longer, that is all it tells."""
        self._takes_at_least(seconds)
        self.unanswered_since = None

    def waited_s(self, now: float) -> float:
        """Tell for how long a call has been under way since which there was no news: it takes at least so long."""
        return 0.0 if self.unanswered_since is None else max(now - self.unanswered_since, 0.0)

    def silent_s(self, now: float) -> float:
        """Tell for how long there has been neither news nor a call that may bring some."""
        return max(now - max(self.told_at, self.began_at), 0.0)

    def _takes_at_least(self, seconds: float) -> None:
        if self.latency_s is None or self.peak_s is None:
            self.at_least_s = max(seconds, self.at_least_s)
        else:
            self.latency_s = max(self.latency_s, _mean(self.latency_s, seconds, ALPHA))
            self.peak_s = max(self.peak_s, seconds)


def _mean(old: float | None, new: float, weight: float) -> float:
    return new if old is None else old + weight * (new - old)
