"""One contestant in one round: fill its queue, start its process, wait for its replies, pace some more, stop it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks import bulk, letters, loads
from benchmarks.contestants import Contestant, Warren
from benchmarks.figures import Figures
from benchmarks.letters import Letter
from benchmarks.loads import Load
from benchmarks.observed import Watch, spent
from benchmarks.postoffice import PostOffice
from benchmarks.spans import CallLogs, Event, ends, spans, starts
from benchmarks.starting import profiled, start, stop
from benchmarks.yard import Yard
from stack.errors import StackError
from stack.services import Service

_HIGH: Final = 7
# The simulator notes the end of a call after its answer has gone out.
_NOTED_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is asked of each contestant.

    `jobs` wait for it and are timed; `backlog` more wait behind them and are thrown away, but first `urgent` jobs of high priority overtake
    them, at `urgent_per_s`. Without a backlog then come jobs at a steady rate, at
    `paced_per_s` and at each of `shares` of the rate that it has just shown, each for `paced_s`. After `within_s` it is given up.
    Where `skipped` is not 0, that share of the jobs is done before the clock begins, and it ends when the last job has begun: in between
    everybody has as many in flight as it may.
    """

    jobs: int
    backlog: int
    in_flight: int
    processes: int
    paced_per_s: float
    paced_s: float
    shares: tuple[float, ...]
    urgent: int
    urgent_per_s: float
    skipped: float
    within_s: float
    profile: Path | None

    @property
    def at_once(self) -> int:
        """How many jobs all processes have in flight."""
        return self.in_flight * self.processes


async def run(contestant: Contestant | Warren, yard: Yard, course: Course) -> Figures:
    """Run one contestant and give its figures.

    Raises:
        StackError: it ended, took too long, or replied something else than answers; the text has the end of its log.
    """
    mark = b'"choices"' if contestant.calls else b'"messages"'
    await asyncio.to_thread(yard.purge)  # what an earlier run left
    route = yard.route(contestant)
    async with PostOffice(route, mark) as post:
        waiting = _letters(contestant, course.jobs + course.backlog)
        await bulk.filled(route, waiting)
        calls = CallLogs(yard.logs)
        began = time.time()
        services = start(contestant, yard, course.in_flight, course.processes)
        try:
            drained = await _drained(post, services, yard, course)
            called = starts(await asyncio.to_thread(calls.read))
            if course.backlog:  # the calls are also those of jobs that nobody waits for
                urgent = await _overtaking(contestant, post, services, yard=yard, course=course)
                return replace(_figures(drained, called, urgent, began), calls_per_job=0)
            found = await _loads(
                contestant,
                post,
                yard,
                course,
                live=lambda: _live(services),
                most_per_s=drained.per_s(called),
            )
        except (TimeoutError, ChildProcessError) as error:
            raise StackError(
                f"{contestant.name}: {len(post.arrivals.at)} of {course.jobs} replies and those of the paced jobs, "
                f"then {str(error) or 'nothing in time'}; the end of its log:\n{services[0].tail()}"
            ) from None
        finally:
            await asyncio.to_thread(stop, services)
    if post.arrivals.wrong:
        raise StackError(f"{contestant.name}: {post.arrivals.wrong} replies were no answers")
    return _figures(drained, called, found, began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drained:
    """What was seen until the last of the waiting jobs was replied to."""

    arrived: Sequence[float]
    watch: Watch
    skipped: float
    at_once: int

    def clock(self, called: Sequence[float]) -> tuple[float, float, int]:
        """Give when the clock begins and ends, and how many jobs were replied to meanwhile.

        It begins at the first call, without one at the first reply, and where some jobs are skipped at the reply to the last of
        them; then it ends when no more wait than are in flight. Too few jobs for that have their clock from the first call on.
        """
        skipped, last = round(len(self.arrived) * self.skipped), len(self.arrived)
        if skipped and last - self.at_once >= 2 * skipped:
            first, last = self.arrived[skipped - 1], last - self.at_once
        else:
            first, skipped = min(called, default=self.arrived[0]), 0
        return first, max(self.arrived[last - 1], first + 1e-3), last - skipped

    def per_s(self, called: Sequence[float]) -> float:
        """Give the jobs a second."""
        first, last, count = self.clock(called)
        return count / (last - first)


async def _drained(
    post: PostOffice, services: Sequence[Service], yard: Yard, course: Course
) -> _Drained:
    """Wait for the replies to the jobs that were waiting."""
    workers = {f"worker {number}": each.pid for number, each in enumerate(services)}
    with Watch({**workers, "collector": os.getpid(), **yard.pids}) as watch:
        await post.collected(1, lambda: _live(services), course.within_s)
        with profiled(services[0], course.profile):  # of the work, not of the imports
            await post.collected(course.jobs, lambda: _live(services), course.within_s)
    arrived = sorted(post.arrivals.at.values())[: course.jobs]
    return _Drained(arrived=arrived, watch=watch, skipped=course.skipped, at_once=course.at_once)


async def _loads(
    contestant: Contestant | Warren,
    post: PostOffice,
    yard: Yard,
    course: Course,
    *,
    live: Callable[[], bool],
    most_per_s: float,
) -> list[Load]:
    """Give what was seen of jobs at each rate; without a time for them, nothing."""
    if not course.paced_s:
        return []
    found = []
    rates = {f"{course.paced_per_s:g}/s": course.paced_per_s}
    rates |= {f"{share:.0%}": share * most_per_s for share in course.shares}
    for name, per_s in rates.items():
        given = list(_letters(contestant, round(per_s * course.paced_s)))
        before, calls = len(post.arrivals.at), CallLogs(yard.logs)
        sent = await post.paced(given, per_s)
        await post.collected(before + len(given), live, course.within_s)
        called = spans(await _ended(calls), sent) if contestant.calls else {}
        found.append(Load(name=name, sent=sent, called=called, arrived=post.arrivals.at))
    return found


async def _ended(calls: CallLogs) -> list[list[Event]]:
    await asyncio.sleep(_NOTED_S)
    return await asyncio.to_thread(calls.read)


async def _overtaking(
    contestant: Contestant | Warren,
    post: PostOffice,
    services: Sequence[Service],
    *,
    yard: Yard,
    course: Course,
) -> list[Load]:
    """Give what was seen of urgent jobs behind the backlog, each published on time whatever became of those before."""
    if not course.urgent:
        return []
    calls = CallLogs(yard.logs)
    given = _letters(contestant, course.urgent)
    urgent = (replace(letter, key=None, priority=_HIGH) for letter in given)
    sent = await post.paced(urgent, course.urgent_per_s)
    for number in sent:
        await post.replied(number, lambda: _live(services), course.within_s)
    if len(post.arrivals.at) >= course.jobs + course.backlog + course.urgent:
        raise StackError(
            f"{contestant.name}: the backlog was done before the urgent jobs; take a larger one"
        )
    events = await _ended(calls)
    return [
        Load(
            name=loads.URGENT,
            sent=sent,
            called=spans(events, sent),
            arrived=post.arrivals.at,
            freed=ends(events),
            begun=sorted(starts(events)),
        )
    ]


def _live(services: Sequence[Service]) -> bool:
    return all(service.alive for service in services)


def _figures(
    drained: _Drained, called: Sequence[float], seen: Sequence[Load], began: float
) -> Figures:
    """Make figures of what was seen."""
    first, last, count = drained.clock(called)
    steady = next((each for each in seen if each.name != loads.URGENT), None)
    took = last - first
    used = {name: spent(them, first, last) for name, them in drained.watch.samples.items()}
    cores: dict[str, float] = {}
    for name, seconds in used.items():
        part = name.partition(" ")[0]
        cores[part] = cores.get(part, 0) + seconds / took
    busy = spent(drained.watch.busy, first, last) / took
    cores["others"] = max(busy - sum(cores.values()), 0)
    return Figures(
        jobs_per_s=drained.per_s(called),
        cpu_us_per_job=cores["worker"] * took / count * 1e6,
        rss_mb=drained.watch.rss_mb,
        pss_mb=drained.watch.pss_mb,
        start_ms=1000 * (drained.arrived[0] - began),
        latency_p50_ms=steady.quantile("latency", 0.5) if steady else 0,
        latency_p99_ms=steady.quantile("latency", 0.99) if steady else 0,
        calls_per_job=len(called) / len(drained.arrived),
        cores=cores,
        busiest_simulator=max(s for n, s in used.items() if n.startswith("simulator")) / took,
        loads={name: value for each in seen for name, value in each.figures().items()},
        curves={each.name: each.curve() for each in seen},
    )


def _letters(contestant: Contestant | Warren, count: int) -> Iterator[Letter]:
    series = uuid4().hex[:8]  # no cache of an earlier round has its answers
    numbers = (f"{series}-{number}" for number in range(count))
    if not isinstance(contestant, Warren):
        return map(contestant.told, numbers)
    now, lanes = datetime.now(UTC), cycle(contestant.lanes)
    return (
        letters.warren(number, now, contestant.dedupe, lane)
        for number, lane in zip(numbers, lanes, strict=False)
    )
