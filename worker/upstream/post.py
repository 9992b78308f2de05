"""One endpoint as one tier sees it: whether it takes a call, what the choice goes by, and what a call's end tells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from worker.core.admission import HOLD
from worker.core.candidate import Candidate
from worker.core.circuit import State
from worker.core.estimate import Extent
from worker.core.events import CircuitChanged, EndpointHeld, LimitSeen, SeatRefused
from worker.core.hints import limits_told
from worker.core.kinds import RULES, Cure, Kind
from worker.core.latency import Observed
from worker.core.limits import Full, Taken
from worker.core.model import Completed, Failed, Job, Outcome
from worker.core.routing import Policy
from worker.core.seats import Obstacle, Seat
from worker.ports import Clock, Listener
from worker.upstream.endpoint import Endpoint
from worker.upstream.quota import Quota
from worker.upstream.standing import Start

# Who waits for one of an endpoint's calls to end looks again after so long.
_BUSY_S: Final = 0.1


@dataclass(slots=True)
class _Hold:
    """What a place holds until it is given up."""

    start: Start
    taken: Taken
    asked: Extent | None
    given_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Seat):
    """A seat as its post gives it. It is given up once: by the end of its call, or unused."""

    post: "Post"
    hold: _Hold


class Post:
    """An endpoint that serves a tier. What the choice goes by is kept for each tier: how long a call takes is the model's doing too.

    `quota` is the account's; endpoint and quota may be other posts' too. Instants are of the monotonic clock, in
    seconds.
    """

    def __init__(
        self, tier: str, endpoint: Endpoint, quota: Quota, *, clock: Clock, listener: Listener
    ) -> None:
        self.endpoint = endpoint
        self.name = endpoint.spec.name
        self._tier = tier
        self._quota = quota
        self._observed = Observed()
        self._clock = clock
        self._listener = listener

    def left_s(self, now: float) -> float:
        """Give the seconds until it is worth looking again; 0: it takes a call."""
        left_s = max(self.endpoint.standing.left_s(now), self._quota.left_s(now))
        return left_s or (0.0 if self.endpoint.bearing.admits() else _BUSY_S)

    def is_near(self, now: float) -> bool:
        """Tell whether it takes a call within the time that a delivery may be held, as far as can be told.

        A probe may end at any moment, or hang: of one that has been under way for so long nothing can be told.
        """
        near_s = HOLD.total_seconds()
        return self.left_s(now) <= near_s and self.endpoint.standing.probed_s(now) < near_s

    def is_shunned(self, now: float) -> bool:
        """Tell whether a call is better made elsewhere, if anybody else takes it."""
        return self.endpoint.standing.is_shunned(now)

    def obstacle(self, now: float) -> tuple[Obstacle, Kind]:
        """Give what is in the way of a call, where something is, and what a try fails with for that."""
        kind = self.endpoint.standing.kind(now)
        if kind is not None:
            return (Obstacle.CIRCUIT if kind is Kind.UNAVAILABLE else Obstacle.HOLD), kind
        if self._quota.left_s(now) > 0:
            return Obstacle(self._quota.full_of.value), Kind.RATE_LIMITED
        return Obstacle.CONCURRENCY, Kind.UNAVAILABLE

    def candidate(self, now: float, routing: Policy, *, price: float | None = None) -> Candidate:
        """Give what the choice between endpoints looks at."""
        return Candidate.of(
            self._observed,
            peak=routing is Policy.PEAK_EWMA,
            now=now,
            name=self.name,
            weight=self.endpoint.spec.weight,
            in_flight=self.endpoint.bearing.in_flight,
            room=self._quota.room(now),
            price=price,
            taking=self.left_s(now) <= 0,
        )

    async def sit(self, job: Job, *, model: str, fallback: bool) -> Place | None:
        """Take a place, which `left_s` allowed, for a call with this model; None: the limits have no room.

        What others must see (the call in flight, the probe) is noted before the store is asked. Errors:
        `StoreUnavailable`.
        """
        start = self._started(job.id)
        asked = self._quota.extent(job.body)
        taken: Taken | Full = Taken()
        try:
            if self._quota.known:
                taken = await self._quota.take(model, asked, now=self._clock.monotonic)
        except BaseException:
            self._unseated(start)
            raise
        if isinstance(taken, Full):
            self._unseated(start)
            reason = Obstacle(self._quota.full_of.value)
            seconds = taken.wait.total_seconds()
            self._listener.tell(
                SeatRefused(tier=self._tier, endpoint=self.name, reason=reason, seconds=seconds)
            )
            return None
        return Place(
            endpoint=self.name,
            model=model,
            fallback=fallback,
            counted=bool(taken.charges),
            post=self,
            hold=_Hold(start, taken, asked),
        )

    def leave(self, place: Place) -> None:
        """Give up a place at which no call was made; one that is given up already stays so."""
        if not place.hold.given_up:
            place.hold.given_up = True
            self._unseated(place.hold.start)
            self._quota.settle(place.hold.taken, None)

    def began(self) -> None:
        """Take note that a place's call begins now."""
        self._observed = self._observed.began(self._clock.monotonic())

    def heard(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note of the headers of an answer to the place's call."""
        told = limits_told(headers, now=self._clock.now())
        now = self._clock.monotonic()
        for what, limit, left in self._quota.told(place.model, told, now=now):
            self._listener.tell(LimitSeen(endpoint=self.name, what=what, limit=limit, left=left))

    def cut_off(self, place: Place, *, seconds: float, hung: bool) -> None:
        """Take note that we have closed the place's call; `hung`: it had all the time of an attempt.

        What was reckoned for it stays counted.
        """
        self._observed = self._observed.cut_off(seconds=seconds)
        place.hold.given_up = True
        if not hung:
            self._unseated(place.hold.start)
            return
        start, now = place.hold.start, self._clock.monotonic()
        self.endpoint.bearing.ended(Kind.TIMEOUT, began=start.began, now=now)
        self._noted(Failed(kind=Kind.TIMEOUT), start, now)

    def ended(self, place: Place, outcome: Outcome, *, seconds: float) -> Outcome:
        """Take note of how the place's call ended.

        Give the outcome with what the endpoint's standing says to it: a failure after which no call is taken tells for
        how long. A failed probe says nothing against its job where others' calls failed too: it is `UNAVAILABLE` then.
        """
        start, now = place.hold.start, self._clock.monotonic()
        place.hold.given_up = True
        kind = outcome.kind if isinstance(outcome, Failed) else None
        # Where limits by the minute are known, or a time is named, a refusal is theirs, and not of so many calls at once.
        timed = self._quota.known or (
            isinstance(outcome, Failed) and outcome.retry_after is not None
        )
        by_the_minute = kind is Kind.RATE_LIMITED and timed
        crowded = Kind.CANCELLED if by_the_minute else kind
        self.endpoint.bearing.ended(crowded, began=start.began, now=now)
        # A request that no endpoint would take says nothing about how this one is doing, but that it is there.
        if kind is not None and RULES[kind].cure in {Cure.NONE, Cure.END}:
            self._observed = self._observed.answered(at=now)
        else:
            failed = kind is not None
            self._observed = self._observed.after(seconds=seconds, failed=failed, at=now)
        noted = self._noted(outcome, start, now)
        self._quota.learn(place.model, place.hold.asked, outcome, now=now)
        self._quota.settle(place.hold.taken, outcome)
        return noted

    def unsent(self, place: Place, failed: Failed) -> Outcome:
        """Take note that nothing could be sent: there was no usable key."""
        place.hold.given_up = True
        start, now = place.hold.start, self._clock.monotonic()
        self.endpoint.bearing.ended(Kind.CANCELLED, began=start.began, now=now)
        noted = self._noted(failed, start, now)
        self._quota.settle(place.hold.taken, None)
        return noted

    def _noted(self, outcome: Outcome, start: Start, now: float) -> Outcome:
        standing, before = self.endpoint.standing, self.endpoint.standing.state
        if isinstance(outcome, Completed):
            standing.succeeded(start, now=now)
            self._tell_circuit(before, now)
            return outcome
        held_s = standing.failed(outcome, start, now=now)
        self._tell_circuit(before, now)
        if held_s is not None:
            self._listener.tell(EndpointHeld(endpoint=self.name, kind=outcome.kind, seconds=held_s))
        if _is_unpaid(outcome) and standing.excuses(start):
            outcome = replace(outcome, kind=Kind.UNAVAILABLE)
        if outcome.retry_after is None and standing.kind(now) is outcome.kind:
            return replace(outcome, retry_after=timedelta(seconds=standing.left_s(now)))
        return outcome

    def _started(self, job_id: str) -> Start:
        before, now = self.endpoint.standing.state, self._clock.monotonic()
        start = self.endpoint.standing.started(now, job_id=job_id)
        self._tell_circuit(before, now)
        self.endpoint.bearing.began()
        return start

    def _unseated(self, start: Start) -> None:
        before, now = self.endpoint.standing.state, self._clock.monotonic()
        self.endpoint.standing.abandoned(start, now=now)
        self._tell_circuit(before, now)
        self.endpoint.bearing.ended(Kind.CANCELLED, began=start.began, now=now)

    def _tell_circuit(self, before: State, now: float) -> None:
        state = self.endpoint.standing.state
        if state is not before:
            seconds = self.endpoint.standing.state_s(now) if state is State.OPEN else None
            self._listener.tell(CircuitChanged(endpoint=self.name, state=state, seconds=seconds))


def _is_unpaid(failed: Failed) -> bool:
    """Tell whether nobody has worked on a call that failed: the job's policy need not count it among those that may cost."""
    return failed.unsent or failed.kind is Kind.OVERLOADED
