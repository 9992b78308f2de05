"""Whether an endpoint is worth a call: a circuit breaker, moved by what calls came to.

The states and their names are M. Nygard's ("Release It!", 2007, "Circuit Breaker"). All instants are seconds of a
monotonic clock, and chance is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from worker.core.kinds import Kind

SLACK_S: Final = 0.01
"""A loop's timer may fire a little early; who slept until an instant must find that it has come."""

_PARTS: Final = 10
_MOST_DOUBLINGS: Final = 30


class State(StrEnum):
    """What a circuit lets through: every call; none; one call that shows how the endpoint is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


# The look at an enum's member is a call of its own in Python 3.11, and a circuit is looked at several times for each job.
_CLOSED: Final = State.CLOSED


class Sign(Enum):
    """What the end of a call tells of its endpoint."""

    UP = "it works"
    DOWN = "it does not work, whoever asks"
    ANSWERS = "it answers, and has no place for us now"
    NOTHING = "nothing"


_SIGNS: Final[Mapping[Kind, Sign]] = {
    Kind.UPSTREAM_ERROR: Sign.DOWN,
    Kind.OVERLOADED: Sign.DOWN,
    Kind.TIMEOUT: Sign.DOWN,
    Kind.CONNECTION: Sign.DOWN,
    Kind.BAD_RESPONSE: Sign.DOWN,  # a proxy's page in the endpoint's place
    # Holds of their own follow from these: the circuit has nothing to add, and they prove no health.
    Kind.RATE_LIMITED: Sign.ANSWERS,
    Kind.UNAUTHORIZED: Sign.ANSWERS,
    Kind.QUOTA_EXHAUSTED: Sign.ANSWERS,
    # One job's business, found out by an endpoint that works.
    Kind.INVALID_REQUEST: Sign.UP,
    Kind.CONTEXT_TOO_LONG: Sign.UP,
    Kind.MODEL_NOT_FOUND: Sign.UP,
    Kind.RESPONSE_TOO_LARGE: Sign.UP,
    Kind.REDIRECTED: Sign.UP,  # a wrong base_url: no time cures it, and its jobs end at once anyhow
}


def sign_of(kind: Kind | None) -> Sign:
    """Give what a call that ended so tells of its endpoint; None: it completed. A job's own ends tell nothing."""
    return Sign.UP if kind is None else _SIGNS.get(kind, Sign.NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """When a circuit opens, and for how long.

    It opens after `in_a_row` failures without a success between them, or when of at least `least_calls` that ended
    within `window_s` the share `failure_share` failed. It stays open for `open_s`, doubled for each opening in
    a row, at most `longest_s`; of each such time a random half is taken off, so that many workers' probes do
    not come together. A probe that has not ended after `probe_s` no longer keeps another from going.

    Raises:
        ValueError: a number is out of its range.
    """

    in_a_row: int = 5
    least_calls: int = 10
    failure_share: float = 0.5
    window_s: float = 30.0
    open_s: float = 2.0
    longest_s: float = 30.0
    probe_s: float = 30.0

    def __post_init__(self) -> None:
        if self.in_a_row < 1 or self.least_calls < 1 or not 0 < self.failure_share <= 1:
            raise ValueError("in_a_row and least_calls are at least 1, failure_share is in (0, 1]")
        if not 0 < self.open_s <= self.longest_s or self.window_s <= 0 or self.probe_s <= 0:
            raise ValueError("the times are above 0 and open_s <= longest_s")


AMONG_OTHERS: Final = CircuitPolicy()
"""When an endpoint's calls are better made by another, if another takes them."""

ALONE: Final = CircuitPolicy(in_a_row=12, least_calls=20, failure_share=0.9, longest_s=10.0)
"""When an endpoint gets no calls at all: as long as a part of them completes, trying again does more than waiting."""


@dataclass(slots=True)
class _Part:
    """What ended in one part of the window."""

    number: int
    ended: int = 0
    failed: int = 0


@dataclass(slots=True, kw_only=True)
class Circuit:
    """One endpoint's circuit as one worker process sees it; each call's end changes it in place.

    `since` is when it last opened or closed: calls that began before tell of the endpoint as it was then, and are
    not looked at. `until` is when an open one may be probed, or a probe's place is free again. `openings` counts those in
    a row, also over a closing that did not last for `window_s`: an endpoint that fails half of its calls passes half of
    its probes. `kind` is the failure that opened it.
    """

    policy: CircuitPolicy = field(default_factory=CircuitPolicy)
    state: State = State.CLOSED
    since: float = float("-inf")
    until: float = float("-inf")
    openings: int = 0
    kind: Kind | None = None
    failures_in_a_row: int = 0
    parts: list[_Part] = field(default_factory=list)

    def admits(self, now: float) -> bool:
        """Tell whether a call may begin: any if it is closed, else the one probe whose time has come."""
        return self.state is _CLOSED or self.left_s(now) == 0

    def left_s(self, now: float) -> float:
        """Give the seconds until it admits a call for sure: what is left of the open time, or of a probe's."""
        left = self.until - now
        return left if self.state is not _CLOSED and left > SLACK_S else 0.0

    def probe(self, now: float) -> None:
        """Take note of a call that begins now, which `admits` allowed: unless it is closed, that is its probe."""
        if self.state is not _CLOSED:
            self.state = State.HALF_OPEN
            self.until = now + self.policy.probe_s

    def abandoned(self, now: float) -> None:
        """Take note that its probe ended without a sign (its job was cancelled): the place is free."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
            self.until = now

    def completed(self, *, began: float, now: float) -> None:
        """Take note of a call that began at `began` and completed now.

        As with a failure: one that the circuit let through before it last opened or closed changes nothing.
        """
        if began <= self.since:
            return
        if self.state is _CLOSED:
            self.failures_in_a_row = 0
            self._part(now).ended += 1
        else:
            self._close(now)

    def failed(self, kind: Kind, *, began: float, now: float, chance: float) -> None:
        """Take note of a call that began at `began` and failed now; `chance` is in [0, 1)."""
        sign = sign_of(kind)
        if sign is Sign.UP:
            self.completed(began=began, now=now)
        elif sign is Sign.DOWN and began > self.since:
            self._failed(kind, now, chance)
        elif sign is Sign.ANSWERS and began > self.since and self.state is not _CLOSED:
            self._close(now)

    def _failed(self, kind: Kind, now: float, chance: float) -> None:
        if self.state is _CLOSED:
            self.failures_in_a_row += 1
            part = self._part(now)
            part.ended += 1
            part.failed += 1
            if not self._is_too_much():
                return
        self._open(kind, now, chance)

    def _part(self, now: float) -> _Part:
        """Give the part of the window that is now, and forget those that it has left behind."""
        number = int(now / (self.policy.window_s / _PARTS))
        if not self.parts or self.parts[-1].number != number:
            recent = [part for part in self.parts if number - _PARTS < part.number < number]
            self.parts = [*recent, _Part(number)]
        return self.parts[-1]

    def _is_too_much(self) -> bool:
        ended = sum(part.ended for part in self.parts)
        failed = sum(part.failed for part in self.parts)
        return self.failures_in_a_row >= self.policy.in_a_row or (
            ended >= self.policy.least_calls and failed >= self.policy.failure_share * ended
        )

    def _open(self, kind: Kind, now: float, chance: float) -> None:
        if self.state is _CLOSED and now - self.since > self.policy.window_s:
            self.openings = 0
        doubled_s = self.policy.open_s * 2.0 ** min(self.openings, _MOST_DOUBLINGS)
        self.state = State.OPEN
        self.until = now + min(doubled_s, self.policy.longest_s) * (1 - chance / 2)
        self.openings += 1
        self.kind = kind
        self._begin_anew(now)

    def _close(self, now: float) -> None:
        self.state = _CLOSED
        self.until = float("-inf")
        self.kind = None
        self._begin_anew(now)

    def _begin_anew(self, now: float) -> None:
        self.since = now
        self.failures_in_a_row = 0
        self.parts = []
