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
from worker.core.hints import NOTHING_TOLD, limits_told
from worker.core.kinds import RULES, Cure, Kind
from worker.core.latency import Observed
from worker.core.limits import NOTHING_TAKEN, Charge, Full, Used
from worker.core.model import Completed, Failed, Job, Outcome
from worker.core.routing import Policy
from worker.core.seats import Obstacle, Seat
from worker.ports import Clock, Listener
from worker.upstream.endpoint import Endpoint
from worker.upstream.quota import Quota
from worker.upstream.standing import Start

# Who waits for one of an endpoint's calls to end looks again after so long.
_BUSY_S: Final = 0.1
_NOTHING_DUE: Final[tuple[Charge, ...]] = ()
# See `core.circuit`: a name for it is cheaper than a look at the enum.
_CLOSED: Final = State.CLOSED


@dataclass(slots=True, kw_only=True, eq=False)
class Place(Seat):
    """A seat as its post gives it. It is given up once: by the end of its call, or unused.

    `began` is when its call began, `first_byte_s` how long the head of an answer took; None: none came. `used` is what its
    call leaves to be settled.
    """

    post: "Post"
    start: Start
    asked: Extent | None
    given_up: bool = False
    began: float = 0.0
    first_byte_s: float | None = None
    used: Used | None = None


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
        self._standing = endpoint.standing
        self._bearing = endpoint.bearing
        self._tier = tier
        self._quota = quota
        self._observed = Observed()
        self._clock = clock
        self._listener = listener

    def takes(self, now: float) -> bool:
        """Tell whether it takes a call."""
        return (
            self._standing.may_start(now)
            and self._quota.left_s(now) <= 0
            and self._bearing.admits()
        )

    def left_s(self, now: float) -> float:
        """Give the seconds until it is worth looking again; 0: it takes a call."""
        left_s = max(self._standing.left_s(now), self._quota.left_s(now))
        return left_s or (0.0 if self._bearing.admits() else _BUSY_S)

    def is_near(self, now: float) -> bool:
        """Tell whether it takes a call within the time that a delivery may be held, as far as can be told.

        A probe may end at any moment, or hang: of one that has been under way for so long nothing can be told.
        """
        near_s = HOLD.total_seconds()
        return self.left_s(now) <= near_s and self._standing.probed_s(now) < near_s

    def is_shunned(self, now: float) -> bool:
        """Tell whether a call is better made elsewhere, if anybody else takes it."""
        return self._standing.is_shunned(now)

    def obstacle(self, now: float) -> tuple[Obstacle, Kind]:
        """Give what is in the way of a call, where something is, and what a try fails with for that."""
        kind = self._standing.kind(now)
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
            in_flight=self._bearing.in_flight,
            room=self._quota.room(now),
            price=price,
            taking=self.takes(now),
        )

    def propose(self, job: Job, *, model: str, fallback: bool, now: float) -> Place | None:
        """Give a place now, which `takes` allowed, whose permits are due; None: they are scarce, and are to be asked for first.

        What others must see (the call in flight, the probe) is noted.
        """
        quota, asked, due = self._quota, None, _NOTHING_DUE
        if quota.known:
            if quota.is_scarce(now):
                return None
            asked = quota.extent(job.body)
            due = quota.charges(model, asked)
        return Place(
            endpoint=self.name,
            model=model,
            fallback=fallback,
            due=due,
            post=self,
            start=self._started(job.id, now),
            asked=asked,
        )

    def refused(self, place: Place, full: Full) -> None:
        """Give up a place for whose due permits the limits have no room."""
        place.given_up = True
        self._unseated(place.start)
        self._quota.refused(full, now=self._clock.monotonic())
        self._tell_full(full)

    async def sit(self, job: Job, *, model: str, fallback: bool, now: float) -> Place | None:
        """Take a place now, which `takes` allowed, for a call with this model; None: the limits have no room.

        What others must see (the call in flight, the probe) is noted before the store is asked. Errors:
        `StoreUnavailable`.
        """
        start, quota = self._started(job.id, now), self._quota
        asked: Extent | None = None
        taken = NOTHING_TAKEN
        if quota.known:
            try:
                asked = quota.extent(job.body)
                found = await quota.take(model, asked, now=self._clock.monotonic)
            except BaseException:
                self._unseated(start)
                raise
            if isinstance(found, Full):
                self._unseated(start)
                self._tell_full(found)
                return None
            taken = found
        return Place(
            endpoint=self.name,
            model=model,
            fallback=fallback,
            taken=taken,
            post=self,
            start=start,
            asked=asked,
        )

    def stands(self, place: Place) -> bool:
        """Tell whether the endpoint still takes the call that a place was given for."""
        return self._standing.still_takes(place.start, self._clock.monotonic())

    def leave(self, place: Place) -> None:
        """Give up a place at which no call was made; one that is given up already stays so."""
        if not place.given_up:
            place.given_up = True
            self._unseated(place.start)
            self._quota.settle(place.taken, None)

    def began(self, place: Place) -> None:
        """Take note that a place's call begins."""
        self._observed.began(place.began)

    def heard(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note of the headers of an answer to the place's call."""
        now = self._clock.monotonic()
        place.first_byte_s = now - place.began
        told = limits_told(headers, now=self._clock.now())
        if told is NOTHING_TOLD:
            return
        for what, limit, left in self._quota.told(place.model, told, now=now):
            self._listener.tell(LimitSeen(endpoint=self.name, what=what, limit=limit, left=left))

    def cut_off(self, place: Place, *, seconds: float, hung: bool) -> None:
        """Take note that we have closed the place's call; `hung`: it had all the time of an attempt.

        What was reckoned for it stays counted.
        """
        self._observed.cut_off(seconds=seconds)
        place.given_up = True
        if not hung:
            self._unseated(place.start)
            return
        start, now = place.start, self._clock.monotonic()
        self._bearing.failed(Kind.TIMEOUT, began=start.began, now=now)
        self._noted(Failed(kind=Kind.TIMEOUT), start, now)

    def ended(self, place: Place, outcome: Outcome, *, seconds: float, now: float) -> Outcome:
        """Take note of how the place's call ended now.

        Give the outcome with what the endpoint's standing says to it: a failure after which no call is taken tells for
        how long. A failed probe says nothing against its job where others' calls failed too: it is `UNAVAILABLE` then.
        A completed call ends its attempt, with whose record its limits are settled; of a failed one they are settled at once.
        """
        place.given_up = True
        noted = outcome
        if isinstance(outcome, Completed):
            self._completed(place.start, seconds, now)
        else:
            noted = self._failed(place.start, outcome, seconds, now)
        self._quota.learn(place.model, place.asked, outcome, now=now)
        if isinstance(outcome, Completed) and not place.taken.own:
            place.used = self._quota.used(place.taken, outcome)
        else:
            self._quota.settle(place.taken, outcome)
        return noted

    def unsent(self, place: Place, failed: Failed) -> Outcome:
        """Take note that nothing could be sent: there was no usable key."""
        place.given_up = True
        start, now = place.start, self._clock.monotonic()
        self._bearing.failed(Kind.CANCELLED, began=start.began, now=now)
        noted = self._noted(failed, start, now)
        self._quota.settle(place.taken, None)
        return noted

    def _completed(self, start: Start, seconds: float, now: float) -> None:
        standing, before = self._standing, self._standing.state
        self._bearing.completed(began=start.began)
        self._observed.ended(seconds=seconds, failed=False, at=now)
        standing.succeeded(start, now=now)
        if before is not _CLOSED:
            self._tell_circuit(before, now)

    def _failed(self, start: Start, failed: Failed, seconds: float, now: float) -> Outcome:
        kind = failed.kind
        # Where limits by the minute are known, or a time is named, a refusal is theirs, and not of so many calls at once.
        timed = self._quota.known or failed.retry_after is not None
        by_the_minute = kind is Kind.RATE_LIMITED and timed
        crowded = Kind.CANCELLED if by_the_minute else kind
        self._bearing.failed(crowded, began=start.began, now=now)
        # A request that no endpoint would take says nothing about how this one is doing, but that it is there.
        if RULES[kind].cure in {Cure.NONE, Cure.END}:
            self._observed.answered(at=now)
        else:
            self._observed.ended(seconds=seconds, failed=True, at=now)
        return self._noted(failed, start, now)

    def _noted(self, failed: Failed, start: Start, now: float) -> Failed:
        standing, before = self._standing, self._standing.state
        held_s = standing.failed(failed, start, now=now)
        self._tell_circuit(before, now)
        if held_s is not None:
            self._listener.tell(EndpointHeld(endpoint=self.name, kind=failed.kind, seconds=held_s))
        if _is_unpaid(failed) and standing.excuses(start):
            failed = replace(failed, kind=Kind.UNAVAILABLE)
        if failed.retry_after is None and standing.kind(now) is failed.kind:
            return replace(failed, retry_after=timedelta(seconds=standing.left_s(now)))
        return failed

    def _started(self, job_id: str, now: float) -> Start:
        before = self._standing.state
        start = self._standing.started(now, job_id=job_id)
        if before is not _CLOSED:
            self._tell_circuit(before, now)
        self._bearing.began()
        return start

    def _unseated(self, start: Start) -> None:
        before, now = self._standing.state, self._clock.monotonic()
        self._standing.abandoned(start, now=now)
        self._tell_circuit(before, now)
        self._bearing.failed(Kind.CANCELLED, began=start.began, now=now)

    def _tell_full(self, full: Full) -> None:
        reason, wait = Obstacle(self._quota.full_of.value), full.wait.total_seconds()
        self._listener.tell(
            SeatRefused(tier=self._tier, endpoint=self.name, reason=reason, seconds=wait)
        )

    def _tell_circuit(self, before: State, now: float) -> None:
        state = self._standing.state
        if state is not before:
            seconds = self._standing.state_s(now) if state is State.OPEN else None
            self._listener.tell(CircuitChanged(endpoint=self.name, state=state, seconds=seconds))


def _is_unpaid(failed: Failed) -> bool:
    """Tell whether nobody has worked on a call that failed: the job's policy need not count it among those that may cost."""
    return failed.unsent or failed.kind is Kind.OVERLOADED
