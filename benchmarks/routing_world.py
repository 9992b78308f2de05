"""A fleet of workers over a few endpoints in virtual time: what `routing.py` measures. No sockets, no clock, no sleep.

Real are the choice, what it goes by, the holds after a refusal and the pauses between tries. Jobs arrive by chance
(Poisson) whether or not the ones before are done, each at one of the workers, and every worker knows only its own
calls. How long a call takes is log-normal and the job's own, times what is the matter with its endpoint.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

from worker.core.candidate import Candidate
from worker.core.kinds import Kind
from worker.core.latency import Observed
from worker.core.model import Failed
from worker.core.quick import TryPolicy, pause_before_next_try
from worker.core.routing import hold_time

PER_S: Final = 24.0
"""Jobs that arrive in a second, over all workers."""

MEDIAN_S: Final = 1.0
SPREAD: Final = 0.6
"""Half of the calls take longer than the median, one in a hundred four times as long (sigma of the logarithm)."""

REFUSED_S: Final = 0.02
FAILED_S: Final = 0.05
TIMEOUT_S: Final = 60.0
PARKED_S: Final = 2.0
BUCKET_S: Final = 10.0
"""So many seconds of its rate a limited endpoint lets pass at once."""

_TRIES: Final = TryPolicy(tries=3, base_s=0.2, cap_s=2.0)
_RECHECK: Final = timedelta(seconds=15)
_ASKED: Final = timedelta(seconds=1)

Chooser: TypeAlias = Callable[[Sequence[Candidate], frozenset[str]], int | None]
Pace: TypeAlias = Callable[[float], float]


def _even(_: float) -> float:
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What an endpoint really is like.

    Above `at_once` calls in flight each takes longer, in proportion. `pace`: at an instant its calls take so many times
    as long. `failing` is the share of its calls that fail, fast; `per_minute` its limit, 0: none; `opens_s` when it joins.
    """

    name: str
    weight: float = 1.0
    at_once: int = 60
    pace: Pace = _even
    failing: float = 0.0
    per_minute: float = 0.0
    opens_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made. `kind`: why it failed; None: it completed."""

    site: str
    began_s: float
    kind: Kind | None


@dataclass(slots=True)
class Log:
    """Every call, and for every job when it arrived and how long it took."""

    calls: list[Call] = field(default_factory=list)
    jobs: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class _View:
    """What one worker knows of one endpoint."""

    observed: Observed = field(default_factory=Observed)
    in_flight: int = 0
    held_until: float = 0.0
    room: float = 1.0


@dataclass(slots=True)
class _Worker:
    choose: Chooser
    views: dict[str, _View]


@dataclass(slots=True)
class _Job:
    arrived_s: float
    long_s: float
    worker: _Worker
    failures: list[Failed] = field(default_factory=list)


class World:
    """One run. `choosers`: one for each worker; `peak`: they look at peaks, not at means."""

    def __init__(
        self, sites: Sequence[Site], choosers: Sequence[Chooser], *, peak: bool, seed: str
    ) -> None:
        self._sites = sites
        self._peak = peak
        self._chance = random.Random(seed)  # noqa: S311  # repeatable, not secret
        self._busy = {site.name: 0 for site in sites}
        self._buckets = {site.name: _Bucket(site.per_minute) for site in sites}
        self._workers = [
            _Worker(choose, {site.name: _View() for site in sites}) for choose in choosers
        ]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._log = Log()

    def run(self, jobs: int) -> Log:
        """Let so many jobs come, and all of them end."""
        arrives_s = 0.0
        for _ in range(jobs):
            arrives_s += self._chance.expovariate(PER_S)
            long_s = self._chance.lognormvariate(math.log(MEDIAN_S), SPREAD)
            self._later(arrives_s, _Job(arrives_s, long_s, self._chance.choice(self._workers)))
        while self._events:
            self._now, _, step = heapq.heappop(self._events)
            step()
        return self._log

    def _at(self, instant_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._events, (instant_s, next(self._numbers), step))

    def _later(self, instant_s: float, job: _Job) -> None:
        self._at(instant_s, lambda: self._try(job))

    def _try(self, job: _Job) -> None:
        worker, now = job.worker, self._now
        open_now = [site for site in self._sites if site.opens_s <= now]
        tried = frozenset(failed.endpoint or "" for failed in job.failures)
        index = worker.choose([self._candidate(worker, site) for site in open_now], tried)
        if index is None:  # all are held: a worker waits for the first
            soonest_s = min(worker.views[site.name].held_until for site in open_now)
            self._later(max(soonest_s, now) + 0.001, job)
            return
        site = open_now[index]
        view = worker.views[site.name]
        seconds, kind = self._fate(site, job)
        view.observed.began(now)
        view.in_flight += 1
        self._busy[site.name] += 1
        self._log.calls.append(Call(site.name, now, kind))
        self._at(now + seconds, lambda: self._ended(job, site, seconds, kind))

    def _candidate(self, worker: _Worker, site: Site) -> Candidate:
        view = worker.views[site.name]
        return Candidate.of(
            view.observed,
            peak=self._peak,
            now=self._now,
            name=site.name,
            weight=site.weight,
            in_flight=view.in_flight,
            room=view.room,
            taking=view.held_until <= self._now,
        )

    def _fate(self, site: Site, job: _Job) -> tuple[float, Kind | None]:
        if site.per_minute and not self._buckets[site.name].takes(self._now):
            return REFUSED_S, Kind.RATE_LIMITED
        if site.failing and self._chance.random() < site.failing:
            return FAILED_S, Kind.UPSTREAM_ERROR
        crowd = max(1.0, self._busy[site.name] / site.at_once)
        seconds = job.long_s * site.pace(self._now) * crowd
        return (seconds, None) if seconds < TIMEOUT_S else (TIMEOUT_S, Kind.TIMEOUT)

    def _ended(self, job: _Job, site: Site, seconds: float, kind: Kind | None) -> None:
        view, now = job.worker.views[site.name], self._now
        view.in_flight -= 1
        self._busy[site.name] -= 1
        view.observed.ended(seconds=seconds, failed=kind is not None, at=now)
        if site.per_minute:  # as its headers tell
            view.room = self._buckets[site.name].room(now)
        if kind is None:
            self._log.jobs.append((job.arrived_s, now - job.arrived_s))
        else:
            self._failed(job, site.name, kind)

    def _failed(self, job: _Job, name: str, kind: Kind) -> None:
        views, now = job.worker.views, self._now
        asked = _ASKED if kind is Kind.RATE_LIMITED else None
        failed = Failed(kind=kind, endpoint=name, retry_after=asked)
        job.failures.append(failed)
        held = hold_time(failed, in_a_row=0, recheck=_RECHECK)
        if held is not None:
            views[name].held_until = now + held.total_seconds()
        elsewhere = any(
            site.name != name and site.opens_s <= now and views[site.name].held_until <= now
            for site in self._sites
        )
        pause = pause_before_next_try(
            failed, len(job.failures), _TRIES, self._chance.random(), elsewhere=elsewhere
        )
        if pause is None:  # parked, for an attempt that knows nothing of this one
            job.failures.clear()
        self._later(now + (PARKED_S if pause is None else pause.total_seconds()), job)


class _Bucket:
    """A limit as upstreams count it: a bucket that fills at an even pace."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / 60
        self._size = self._left = self._per_s * BUCKET_S
        self._at_s = 0.0

    def takes(self, now: float) -> bool:
        """Take one call, if there is room for it."""
        self._left = self._filled(now)
        self._at_s = now
        takes = self._left >= 1
        self._left -= takes
        return takes

    def room(self, now: float) -> float:
        """Give the share that is left."""
        return self._filled(now) / self._size

    def _filled(self, now: float) -> float:
        return min(self._size, self._left + (now - self._at_s) * self._per_s)
