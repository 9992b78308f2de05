"""What `./dev bench` can measure: by name, who takes part and at what sizes."""

import argparse
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks import contestants
from benchmarks.contestants import Contestant, Publisher, Warren
from benchmarks.race import Course

EVERYTHING: Final = "all"
_WARREN: Final = contestants.EVERYTHING_ON.name
_PEERS: Final = tuple(each.name for each in contestants.PEERS)
_RIVALS: Final = ("bare", "faststream_aiohttp", _WARREN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a name stands for: who takes part, and the sizes where the command line gives none.

    Everyone runs once in a round for each of `in_flights`, `backlogs` and `processes`. `each`, if it is not 0, is how many jobs there are
    for each call in flight, but no more than `jobs`. For `skipped` see `Course`. A call takes the upstream `latency_s`, or by chance up to `jitter` of it less or more:
    calls of one length, begun at once, would end at once again and again, and slots become free in bursts.
    """

    what: str
    names: tuple[str, ...]
    jobs: int = 4000
    each: int = 0
    in_flights: tuple[int, ...] = (200,)
    latency_s: float = 0.045
    jitter: float = 0
    rounds: int = 5
    paced_per_s: float = 50
    paced_s: float = 10
    shares: tuple[float, ...] = ()
    urgent: int = 0
    urgent_per_s: float = 5
    skipped: float = 0
    backlogs: tuple[int, ...] = (0,)
    processes: tuple[int, ...] = (1,)

    @property
    def upstream(self) -> str:
        """How long a call takes the upstream, as the simulator reads it."""
        if not self.jitter:
            return f"fixed({self.latency_s})"
        least, most = (self.latency_s * (1 + way * self.jitter) for way in (-1, 1))
        return f"uniform({least:g},{most:g})"


MEASUREMENTS: Final = {
    "peers": Measurement(what="everyone, one worker process each", names=(*_PEERS, _WARREN)),
    "features": Measurement(
        what="Warren with one thing switched off at a time",
        names=(_WARREN, *(each.name for each in contestants.FEATURES)),
        jobs=10_000,
        paced_s=0,
    ),
    "concurrency": Measurement(
        what="the rate and the CPU of a job at 1 to 1,000 calls in flight",
        names=_RIVALS,
        jobs=10_000,
        each=100,
        in_flights=(1, 16, 200, 1000),
        rounds=3,
        paced_s=0,
        skipped=0.25,
    ),
    "load": Measurement(
        what="latency at 25, 50 and 90 % of the rate that each has just shown",
        names=_RIVALS,
        paced_s=20,
        shares=(0.25, 0.5, 0.9),
        rounds=3,
    ),
    "processes": Measurement(
        what="the rate of 1 and of 2 processes",
        names=_RIVALS,
        processes=(1, 2),
        jobs=20_000,
        rounds=3,
        paced_s=0,
        skipped=0.25,
    ),
    # 200 in flight at 1 s are 200 calls a second: a slot becomes free every 5 ms, and the worker's CPU waits for that and not the other
    # way round. 200 urgent jobs at 5 a second are 40 s, in which the backlog shrinks by a twelfth; they never take more than 8 of the slots.
    "priority": Measurement(
        what="a job of high priority behind 100,000 others; upstream of 1 s",
        names=("bare_priority", _WARREN, "warren_bulk"),
        jobs=2_000,
        latency_s=1,
        jitter=0.5,
        urgent=200,
        backlogs=(100_000,),
        rounds=3,
        paced_s=0,
    ),
    "backlog": Measurement(
        what="the same jobs before 1,000 to 1,000,000 others in the queue",
        names=("bare", _WARREN),
        backlogs=(1_000, 10_000, 100_000, 1_000_000),
        rounds=1,
        paced_s=0,
    ),
    "publish": Measurement(
        what="how fast the SDK publishes, confirmed",
        names=tuple(each.name for each in contestants.PUBLISHERS),
        jobs=10_000,
        rounds=3,
    ),
    "memory": Measurement(
        what="10,000 calls in flight, the most of a lane; upstream of 5 s",
        names=(*_RIVALS, *(each.name for each in contestants.MULTIPLEXED)),
        jobs=40_000,
        in_flights=(10_000,),
        latency_s=5,
        rounds=1,
        paced_s=0,
        skipped=0.25,
    ),
}
# About what a machine of two cores takes: a run's start and end, and what it does a second.
_AROUND_S: Final = 4
_FILLED_PER_S: Final = 8_000
_DONE_PER_S: Final = 700
_PUBLISHED_PER_S: Final = 1_500
_QUICK_JOBS: Final = 800
_QUICK_BACKLOG: Final = 10_000
_QUICK_IN_FLIGHT: Final = 1_000
_QUICK_PACED_S: Final = 2.0
_QUICK_URGENT: Final = 20
_QUICK_SHARES: Final = (0.5,)
_SIZES: Final = (
    *("jobs", "in_flights", "latency_s", "rounds", "paced_per_s", "paced_s"),
    *("shares", "urgent", "backlogs", "processes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant at one of a measurement's sizes; `key` is its name where that says all."""

    key: str
    title: str
    contestant: Contestant | Warren | Publisher
    course: Course


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A measurement that is to be made: its name, its sizes, and who takes part."""

    name: str
    sizes: Measurement
    entrants: tuple[Entrant, ...]

    @property
    def about_s(self) -> float:
        """How long it takes about, in seconds."""
        return self.sizes.rounds * sum(map(self._run_s, self.entrants))

    def _run_s(self, entrant: Entrant) -> float:
        course = entrant.course
        if isinstance(entrant.contestant, Publisher):
            return _AROUND_S + course.jobs / _PUBLISHED_PER_S
        job_s = max(1 / _DONE_PER_S, self.sizes.latency_s / course.at_once)
        took_s = (course.jobs + course.backlog) / _FILLED_PER_S + course.jobs * job_s
        if course.backlog:
            return _AROUND_S + took_s + course.urgent / course.urgent_per_s
        return _AROUND_S + took_s + course.paced_s * (1 + len(course.shares))


def about_s(name: str) -> float:
    """Give how long a measurement takes about as it is, in seconds."""
    named = MEASUREMENTS[name]
    everyone = tuple(entrants(named, None, 0, None))
    return Task(name=name, sizes=named, entrants=everyone).about_s


def tasks(options: argparse.Namespace) -> list[Task]:
    """Give what the command line asks for, those with the same upstream side by side; of several only those in which somebody takes part.

    Raises:
        ValueError: it names a contestant whom there is not.
    """
    wanted = list(dict.fromkeys(options.measurements))
    names = list(MEASUREMENTS) if EVERYTHING in wanted else wanted
    made = []
    for name in names:
        sizes = sized(name, options)
        only = options.only
        if only and len(names) > 1:  # of each measurement those who take part in it
            chosen = {each.name for each in contestants.chosen(only)}
            only = [each for each in sizes.names if each in chosen]
            if not only:
                continue
        folder = options.profile and options.profile / name
        taking_part = entrants(sizes, only, options.within_s, folder)
        made.append(Task(name=name, sizes=sizes, entrants=tuple(taking_part)))
    upstreams = list(dict.fromkeys(task.sizes.upstream for task in made))
    return sorted(made, key=lambda task: upstreams.index(task.sizes.upstream))


def by_upstream(wanted: Sequence[Task]) -> list[list[Task]]:
    """Give the tasks in groups that have the same upstream, and so may share it."""
    found: dict[str, list[Task]] = {}
    for task in wanted:
        found.setdefault(task.sizes.upstream, []).append(task)
    return list(found.values())


def sized(name: str, options: argparse.Namespace) -> Measurement:
    """Give a measurement with the sizes that the command line gives instead of its own; of several, with those that are for it."""
    named = MEASUREMENTS[name]
    given = {key: getattr(options, key) for key in _SIZES if getattr(options, key) is not None}
    given |= {key: tuple(dict.fromkeys(it)) for key, it in given.items() if isinstance(it, list)}
    if [name] != options.measurements:
        given = {key: it for key, it in given.items() if key not in _own_to_others(named)}
    if "jobs" in given:
        given["each"] = 0
    return replace(_quick(named) if options.quick else named, **given)


def _own_to_others(named: Measurement) -> Iterator[str]:
    """Give the sizes that it has no use for: given for several measurements, they are meant for those that have."""
    if named.backlogs == (0,):
        yield "backlogs"
    if len(named.processes) == 1:
        yield "processes"
    if not named.urgent:
        yield "urgent"
    if not named.paced_s:
        yield "paced_s"


def _quick(measurement: Measurement) -> Measurement:
    """Give it small: one round, which for everyone takes less than three minutes."""
    return replace(
        measurement,
        jobs=min(measurement.jobs, _QUICK_JOBS),
        each=min(measurement.each, 40),
        in_flights=tuple(sorted({min(each, _QUICK_IN_FLIGHT) for each in measurement.in_flights})),
        rounds=1,
        paced_s=min(measurement.paced_s, _QUICK_PACED_S),
        shares=measurement.shares and _QUICK_SHARES,
        urgent=min(measurement.urgent, _QUICK_URGENT),
        backlogs=tuple(sorted({min(each, _QUICK_BACKLOG) for each in measurement.backlogs})),
    )


def entrants(
    measurement: Measurement, only: Collection[str] | None, within_s: float, profile: Path | None
) -> Iterator[Entrant]:
    """Give everyone who takes part, at each size.

    Raises:
        ValueError: `only` names somebody whom there is not.
    """
    sizes = product(measurement.in_flights, measurement.backlogs, measurement.processes)
    every = list(sizes)
    for contestant in contestants.chosen(only or measurement.names):
        for in_flight, backlog, processes in every:
            told = [f"{in_flight:,} in flight"] if len(measurement.in_flights) > 1 else []
            told += [f"{backlog:,} behind"] if len(measurement.backlogs) > 1 else []
            told += [_several(processes)] if len(measurement.processes) > 1 else []
            key = ", ".join([contestant.name, *told])
            jobs = measurement.jobs
            if measurement.each:
                jobs = min(jobs, measurement.each * in_flight)
            yield Entrant(
                key=key,
                title=", ".join([contestant.title, *told]),
                contestant=contestant,
                course=Course(
                    jobs=jobs,
                    backlog=backlog,
                    in_flight=in_flight,
                    processes=processes,
                    paced_per_s=measurement.paced_per_s,
                    paced_s=measurement.paced_s,
                    shares=measurement.shares,
                    urgent=measurement.urgent,
                    urgent_per_s=measurement.urgent_per_s,
                    skipped=measurement.skipped,
                    within_s=within_s,
                    profile=None if profile is None else profile / f"{_file_name(key)}.folded",
                ),
            )


def _file_name(key: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in key)


def _several(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
