"""One contestant in one round: fill its queue, start its process, wait for its replies, pace some more, stop it."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks import letters
from benchmarks.contestants import Contestant, Warren
from benchmarks.figures import Figures, percentile
from benchmarks.letters import Letter
from benchmarks.observed import Watch, spent
from benchmarks.postoffice import PostOffice
from benchmarks.starting import profiled, start, stop
from benchmarks.yard import Yard
from stack.errors import StackError
from stack.services import Service

_HIGH: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is asked of each contestant.

    `jobs` wait for it and are timed; `backlog` more wait behind them and are thrown away, but first `urgent` jobs of high priority overtake
    them, one after the other. Without a backlog then come jobs at a steady rate, at
    `paced_per_s` and at each of `shares` of the rate that it has just shown, each for `paced_s`. After `within_s` it is given up.
    Where `skipped` is not 0, that share of the jobs is done before the clock begins.
    """

    jobs: int
    backlog: int
    in_flight: int
    processes: int
    paced_per_s: float
    paced_s: float
    shares: tuple[float, ...]
    urgent: int
    skipped: float
    within_s: float
    profile: Path | None


async def run(contestant: Contestant | Warren, yard: Yard, course: Course) -> Figures:
    """Run one contestant and give its figures.

    Raises:
        StackError: it ended, took too long, or replied something else than answers; the text has the end of its log.
    """
    mark = b'"choices"' if contestant.calls else b'"messages"'
    await asyncio.to_thread(yard.purge)  # what an earlier run left
    async with PostOffice(yard.route(contestant), mark) as post:
        await post.fill(_letters(contestant, course.jobs + course.backlog))
        calls = _Calls(yard.logs)
        began = time.time()
        services = start(contestant, yard, course.in_flight, course.processes)
        try:
            with profiled(services[0], contestant.name, course.profile):
                drained = await _drained(post, services, yard, course)
            called = await asyncio.to_thread(calls.read)
            if course.backlog:  # the calls are also those of jobs that nobody waits for
                loads = await _overtaking(contestant, post, services, course)
                return replace(_figures(drained, called, loads, began), calls_per_job=0)
            loads = await _loads(
                contestant,
                post,
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
    return _figures(drained, called, loads, began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drained:
    """What was seen until the last of the waiting jobs was replied to."""

    arrived: Sequence[float]
    watch: Watch
    skipped: float

    def clock(self, called: Sequence[float]) -> tuple[float, float, int]:
        """Give when the clock begins and ends, and how many jobs were replied to meanwhile.

        It begins at the first call, without one at the first reply, and where some jobs are skipped at the reply to the last of them.
        """
        skipped = round(len(self.arrived) * self.skipped)
        first = self.arrived[skipped - 1] if skipped else min(called, default=self.arrived[0])
        return first, max(self.arrived[-1], first + 1e-3), len(self.arrived) - skipped

    def per_s(self, called: Sequence[float]) -> float:
        """Give the jobs a second."""
        first, last, count = self.clock(called)
        return count / (last - first)


class _Calls:
    """The simulator's calls from now on."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._from = {log: log.stat().st_size if log.exists() else 0 for log in logs}

    def read(self) -> list[float]:
        """Give when each call came, in seconds of the wall clock."""
        came = []
        for log, offset in self._from.items():
            if log.exists():
                with log.open(encoding="utf-8") as lines:
                    lines.seek(offset)
                    found = (json.loads(line) for line in lines if line.endswith("\n"))
                    came += [line["at"] for line in found if line["event"] == "start"]
        return came


async def _drained(
    post: PostOffice, services: Sequence[Service], yard: Yard, course: Course
) -> _Drained:
    """Wait for the replies to the jobs that were waiting."""
    workers = {f"worker {number}": each.pid for number, each in enumerate(services)}
    with Watch({**workers, "collector": os.getpid(), **yard.pids}) as watch:
        await post.collected(course.jobs, lambda: _live(services), course.within_s)
    arrived = sorted(post.arrivals.at.values())[: course.jobs]
    return _Drained(arrived=arrived, watch=watch, skipped=course.skipped)


async def _loads(
    contestant: Contestant | Warren,
    post: PostOffice,
    course: Course,
    *,
    live: Callable[[], bool],
    most_per_s: float,
) -> dict[str, float]:
    """Give how long jobs took at each rate, from publish to reply, in ms: their p50 and p99, by names that tell the rate."""
    found: dict[str, float] = {}
    rates = {"": course.paced_per_s} | {
        f"_at_{share:.0%}": share * most_per_s for share in course.shares
    }
    for name, per_s in rates.items():
        count = round(per_s * course.paced_s)
        before = len(post.arrivals.at)
        sent = await post.paced(_letters(contestant, count), per_s)
        await post.collected(before + count, live, course.within_s)
        took = [1000 * (post.arrivals.at[number] - at) for number, at in sent.items()]
        found[f"latency_p50_ms{name}"] = percentile(took, 0.5)
        found[f"latency_p99_ms{name}"] = percentile(took, 0.99)
    return found


async def _overtaking(
    contestant: Contestant | Warren,
    post: PostOffice,
    services: Sequence[Service],
    course: Course,
) -> dict[str, float]:
    """Give how long urgent jobs took behind the backlog, each sent when the one before is answered, in ms."""
    took = []
    for letter in _letters(contestant, course.urgent):
        began = time.time()
        await post.publish(replace(letter, key=None, priority=_HIGH))
        await post.replied(letter.number, lambda: _live(services), course.within_s)
        took.append(1000 * (post.arrivals.at[letter.number] - began))
    if not took:
        return {}
    if len(post.arrivals.at) >= course.jobs + course.backlog + course.urgent:
        raise StackError(
            f"{contestant.name}: the backlog was done before the urgent jobs; take a larger one"
        )
    return {
        f"latency_p{share:.0%}_ms_at_high priority".replace("%", ""): percentile(took, share)
        for share in (0.5, 0.99)
    }


def _live(services: Sequence[Service]) -> bool:
    return all(service.alive for service in services)


def _figures(
    drained: _Drained, called: Sequence[float], loads: Mapping[str, float], began: float
) -> Figures:
    """Make figures of what was seen."""
    first, last, count = drained.clock(called)
    took = last - first
    used = {name: spent(them, first, last) for name, them in drained.watch.samples.items()}
    cores: dict[str, float] = {}
    for name, seconds in used.items():
        part = name.partition(" ")[0]
        cores[part] = cores.get(part, 0) + seconds / took
    return Figures(
        jobs_per_s=drained.per_s(called),
        cpu_us_per_job=cores["worker"] * took / count * 1e6,
        rss_mb=drained.watch.rss_mb,
        pss_mb=drained.watch.pss_mb,
        start_ms=1000 * (drained.arrived[0] - began),
        latency_p50_ms=loads.get("latency_p50_ms", 0),
        latency_p99_ms=loads.get("latency_p99_ms", 0),
        calls_per_job=len(called) / len(drained.arrived),
        cores=cores,
        busiest_simulator=max(s for n, s in used.items() if n.startswith("simulator")) / took,
        loads={name: value for name, value in loads.items() if "_at_" in name},
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
