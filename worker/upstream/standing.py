"""What a worker knows of an endpoint: whether it takes calls now, why not, and when to look again.

Two things keep calls away. A *hold*: the endpoint asked for that, or its key or its account was refused. An open
*circuit*: its calls failed. After either, one call goes first, the probe, and the others follow when it has shown that
the endpoint takes them; else all that waited would find out together.

An endpoint of whose calls a part fails is *shunned*, by a second circuit that opens sooner: its calls are better made elsewhere,
where anybody else takes them. Where all fail alike, trying again does more than waiting.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from worker.core.circuit import (
    ALONE,
    AMONG_OTHERS,
    SLACK_S,
    Circuit,
    CircuitPolicy,
    Sign,
    State,
    sign_of,
)
from worker.core.kinds import Kind
from worker.core.model import Failed
from worker.core.routing import hold_time

_NOT_REFUSED_S: Final = 2.0
"""Rate limits are told at once: a call that is not refused after so long was let in, however long its answer takes."""

_LOOK_S: Final = 1.0
"""A probe may end at any time; whoever waits for it looks again after so long."""

_SHARED: Final = 2


# See `core.circuit`: a name for it is cheaper than a look at the enum.
_CLOSED: Final = State.CLOSED


@dataclass(slots=True, kw_only=True, eq=False)
class Start:
    """A call's beginning, to be handed back with its end: itself, not another that is equal. `probe`: others wait for what it shows."""

    began: float
    job_id: str
    probe: bool


class Standing:
    """One endpoint's standing in this process. All instants are of the monotonic clock, in seconds.

    Every call is `started` and then either `failed`, `succeeded` or `abandoned`; if it is none of these (its task was
    lost), its place as a probe is free again after the circuit policy's `probe_s`. `chance` gives numbers in [0, 1).
    """

    def __init__(
        self, *, recheck: timedelta, chance: Callable[[], float], policy: CircuitPolicy = ALONE
    ) -> None:
        self._hold = _Hold(recheck)
        self._circuit = Circuit(policy=policy)
        self._shunning = Circuit(policy=AMONG_OTHERS)
        self._chance = chance
        self._probe: Start | None = None
        self._shunned_probe: Start | None = None
        self._failed_jobs: set[str] = set()

    @property
    def state(self) -> State:
        """The circuit's state, for metrics: of the one that lets nothing through, or else of the one that shuns."""
        strict = self._circuit.state
        return self._shunning.state if strict is _CLOSED else strict

    def state_s(self, now: float) -> float:
        """Give the seconds that are left of the `state`; 0: it has no end, or is over."""
        strict = self._circuit.state is not _CLOSED
        return (self._circuit if strict else self._shunning).left_s(now)

    def is_shunned(self, now: float) -> bool:
        """Tell whether a call is better made elsewhere, if anybody else takes it."""
        return self._shunning.state is not _CLOSED and not self._shunning.admits(now)

    def kind(self, now: float) -> Kind | None:
        """Give why it takes no call now; None: it takes calls. Of an open circuit always UNAVAILABLE."""
        if self.may_start(now):
            return None
        held = self._hold.left_s(now) > 0 or self._is_doubted(now)
        return self._hold.kind if held and self._hold.kind is not None else Kind.UNAVAILABLE

    def left_s(self, now: float) -> float:
        """Give the seconds until it is worth looking again; 0: a call may start."""
        if self.may_start(now):
            return 0.0
        left = max(self._hold.left_s(now), self._circuit.left_s(now))
        if self._hold.left_s(now) > 0 or self._circuit.state is State.OPEN:
            return left or _LOOK_S
        return min(left or _LOOK_S, _LOOK_S)  # a probe is on its way

    def probed_s(self, now: float) -> float:
        """Tell for how long a probe has kept other calls waiting for what it shows; 0: none does."""
        held = self._hold.left_s(now) > 0 or self._circuit.state is State.OPEN
        if self._probe is None or held or self.may_start(now):
            return 0.0
        return now - self._probe.began

    def may_start(self, now: float) -> bool:
        """Tell whether a call may start now: nothing keeps it away, and no probe is on its way."""
        circuit = self._circuit
        if self._hold.until - now > SLACK_S or (
            circuit.state is not _CLOSED and not circuit.admits(now)
        ):
            return False
        return self._probe is None or not self._is_doubted(now) or self._is_lost(self._probe, now)

    def still_takes(self, start: Start, now: float) -> bool:
        """Tell whether a call that was started, and is not made yet, may still be made."""
        held = self._hold.until - now > SLACK_S
        return not held and (self._probe is start or self.may_start(now))

    def started(self, now: float, *, job_id: str) -> Start:
        """Take note of a call that begins now, which `may_start` allowed; no other may begin in between."""
        doubted = self._hold.doubted and self._is_doubted(now)
        probe = doubted or self._circuit.state is not _CLOSED
        start = Start(began=now, job_id=job_id, probe=probe)
        if probe:
            self._probe = start
            self._circuit.probe(now)
        if self._shunning.state is not _CLOSED and self._shunning.admits(now):
            self._shunned_probe = start
            self._shunning.probe(now)
        return start

    def failed(self, failed: Failed, start: Start, *, now: float) -> float | None:
        """Take note of a call that failed; give the seconds of a hold that begins now, None: none does."""
        sign = sign_of(failed.kind)
        if sign is Sign.NOTHING:
            self.abandoned(start, now=now)
            return None
        if self._probe is start:
            self._probe = None
        held_s = self._hold.failed(failed, began=start.began, now=now)
        chance = self._chance()
        self._circuit.failed(failed.kind, began=start.began, now=now, chance=chance)
        self._shunning.failed(failed.kind, began=start.began, now=now, chance=chance)
        if sign is not Sign.DOWN:
            self._hold.shown_over(began=start.began, now=now)
        elif len(self._failed_jobs) < _SHARED:
            self._failed_jobs.add(start.job_id)
        if sign is Sign.UP:
            self._failed_jobs.clear()
        return held_s

    def succeeded(self, start: Start, *, now: float) -> None:
        """Take note of a call that completed."""
        began, hold = start.began, self._hold
        if self._probe is start:
            self._probe = None
        if hold.doubted or hold.in_a_row:
            hold.succeeded(began=began, now=now)
        self._circuit.completed(began=began, now=now)
        self._shunning.completed(began=began, now=now)
        self._failed_jobs.clear()

    def abandoned(self, start: Start, *, now: float) -> None:
        """Take note of a call that ended without showing anything: it was cancelled. Its place as a probe is free."""
        if self._probe is start:
            self._probe = None
            self._circuit.abandoned(now)
        if self._shunned_probe is start:
            self._shunned_probe = None
            self._shunning.abandoned(now)

    def excuses(self, start: Start) -> bool:
        """Tell whether a failed call says nothing against its job: a probe, and other jobs' calls failed before it.

        A job that fails alone may be what breaks the endpoint, and then it must come to an end.
        """
        return start.probe and len(self._failed_jobs) >= _SHARED

    def _is_doubted(self, now: float) -> bool:
        """Tell whether a hold was, or is, and no call has shown that it is over."""
        if not self._hold.doubted:
            return False
        let_in = self._probe is not None and now - self._probe.began >= _NOT_REFUSED_S - SLACK_S
        return not (let_in and self._hold.kind is Kind.RATE_LIMITED)

    def _is_lost(self, probe: Start, now: float) -> bool:
        return now - probe.began >= self._circuit.policy.probe_s - SLACK_S


class _Hold:
    """Until when an endpoint wants no calls, and why.

    `doubted` until a call has shown that it takes them again; `in_a_row` counts holds that double.
    """

    def __init__(self, recheck: timedelta) -> None:
        self._recheck = recheck
        self._since = float("-inf")
        self.until = float("-inf")
        self.in_a_row = 0
        self.kind: Kind | None = None
        self.doubted = False

    def left_s(self, now: float) -> float:
        left = self.until - now
        return left if left > SLACK_S else 0.0

    def failed(self, failed: Failed, *, began: float, now: float) -> float | None:
        """Calls that were on their way already when the hold began tell nothing new.

        They may lengthen it, but neither double it nor begin another.
        """
        fresh = began > self._since
        time = hold_time(failed, in_a_row=self.in_a_row if fresh else 0, recheck=self._recheck)
        if time is None:
            return None
        held = self.left_s(now) > 0
        until = now + time.total_seconds()
        if until > self.until or not held:
            self.until, self.kind = until, failed.kind
        if fresh and failed.kind is not Kind.RATE_LIMITED:
            self.in_a_row += 1
        self.doubted = True
        if held:
            return None
        self._since = now
        return time.total_seconds()

    def succeeded(self, *, began: float, now: float) -> None:
        """A call that began after the hold ends the doubling."""
        if began > self._since:
            self.in_a_row = 0
        self.shown_over(began=began, now=now)

    def shown_over(self, *, began: float, now: float) -> None:
        if began > self._since and not self.left_s(now):
            self.doubted = False
