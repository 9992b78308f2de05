"""Until when an endpoint takes no calls, and why."""

from datetime import timedelta
from typing import Final

from worker.core.kinds import Kind
from worker.core.model import Failed
from worker.core.routing import hold_time

_SLACK_S: Final = 0.01
"""A loop's timer may fire a little early; who slept until the end of the hold must find it over."""


class Hold:
    """One endpoint's hold. All instants are of the monotonic clock, in seconds."""

    def __init__(self, *, recheck: timedelta) -> None:
        self._recheck = recheck
        self._since = float("-inf")
        self._until = float("-inf")
        self._in_a_row = 0
        self.kind: Kind | None = None

    def left_s(self, now: float) -> float:
        """Give for how long the endpoint takes no calls; 0: it takes them."""
        left = self._until - now
        return left if left > _SLACK_S else 0.0

    def failed(self, failed: Failed, *, began: float, now: float) -> float | None:
        """Take note of a call that began at `began` and failed; give the seconds of a hold that begins now.

        Calls that were on their way already when the hold began tell nothing new: they may lengthen it, but
        neither double it nor begin another.
        """
        fresh = began > self._since
        time = hold_time(failed, in_a_row=self._in_a_row if fresh else 0, recheck=self._recheck)
        if time is None:
            return None
        held = self.left_s(now) > 0
        until = now + time.total_seconds()
        if until > self._until or not held:
            self._until, self.kind = until, failed.kind
        if fresh and failed.kind is not Kind.RATE_LIMITED:
            self._in_a_row += 1
        if held:
            return None
        self._since = now
        return time.total_seconds()

    def succeeded(self, *, began: float) -> None:
        """Take note of a call that completed: one that began after the hold ends the doubling."""
        if began > self._since:
            self._in_a_row = 0
