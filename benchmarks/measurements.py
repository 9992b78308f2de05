"""What `./dev bench` can measure: by name, who takes part and at what sizes."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import contestants
from benchmarks.contestants import Contestant, Publisher, Warren
from benchmarks.race import Course

_WARREN: Final = contestants.EVERYTHING_ON.name
_PEERS: Final = tuple(each.name for each in contestants.PEERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a name stands for: who takes part, and the sizes where the command line gives none.

    Everyone runs once in a round for each of `backlogs` and each of `processes`. `about_min` is how many minutes it takes about.
    """

    what: str
    about_min: int
    names: tuple[str, ...]
    jobs: int = 4000
    in_flight: int = 200
    latency_s: float = 0.045
    rounds: int = 5
    paced_per_s: float = 50
    paced_s: float = 10
    shares: tuple[float, ...] = ()
    urgent: int = 0
    backlogs: tuple[int, ...] = (0,)
    processes: tuple[int, ...] = (1,)


MEASUREMENTS: Final = {
    "peers": Measurement(
        what="everyone, one worker process each", about_min=25, names=(*_PEERS, _WARREN)
    ),
    "features": Measurement(
        what="Warren with one thing switched off at a time",
        about_min=15,
        names=(_WARREN, *(each.name for each in contestants.FEATURES)),
        jobs=10_000,
    ),
    "load": Measurement(
        what="latency at 25, 50 and 90 % of the rate that each has just shown",
        about_min=15,
        names=("bare", "faststream_aiohttp", _WARREN),
        paced_s=20,
        shares=(0.25, 0.5, 0.9),
        rounds=3,
    ),
    "processes": Measurement(
        what="the rate of 1 and of 2 processes",
        about_min=10,
        names=("bare", "faststream_aiohttp", _WARREN),
        processes=(1, 2),
        jobs=20_000,
        rounds=3,
        paced_s=0,
    ),
    "backlog": Measurement(
        what="the same jobs before 1,000 to 1,000,000 others in the queue",
        about_min=20,
        names=("bare", _WARREN),
        backlogs=(1_000, 10_000, 100_000, 1_000_000),
        rounds=1,
        paced_s=0,
    ),
    "priority": Measurement(
        what="a job of high priority behind 100,000 others",
        about_min=10,
        names=("bare_priority", _WARREN, "warren_bulk"),
        jobs=2_000,
        urgent=100,
        backlogs=(100_000,),
        rounds=3,
        paced_s=0,
    ),
    "publish": Measurement(
        what="how fast the SDK publishes, confirmed",
        about_min=3,
        names=tuple(each.name for each in contestants.PUBLISHERS),
        jobs=10_000,
        rounds=3,
    ),
    "memory": Measurement(
        what="4,000 calls in flight, the most of one worker; upstream of 5 s",
        about_min=5,
        names=("bare", "faststream_aiohttp", contestants.FOUR_THOUSAND.name),
        jobs=12_000,
        in_flight=4_000,
        latency_s=5,
        rounds=1,
        paced_s=0,
    ),
}
# Of the jobs of several processes so many are done before the clock begins: they do not all start at the same moment.
_SKIPPED: Final = 0.25
_QUICK_JOBS: Final = 800
_QUICK_BACKLOG: Final = 10_000
_QUICK_PACED_S: Final = 2.0
_SIZES: Final = (
    *("jobs", "in_flight", "latency_s", "rounds", "paced_per_s", "paced_s"),
    *("shares", "backlogs", "processes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant at one of a measurement's sizes; `key` is its name where that says all."""

    key: str
    title: str
    contestant: Contestant | Warren | Publisher
    course: Course


def sized(options: argparse.Namespace) -> Measurement:
    """Give the measurement that the command line names, with its sizes instead of those that it gives."""
    named = MEASUREMENTS[options.measurement]
    given = {key: getattr(options, key) for key in _SIZES if getattr(options, key) is not None}
    return replace(_quick(named) if options.quick else named, **given)


def _quick(measurement: Measurement) -> Measurement:
    """Give it small: one round, which for everyone takes less than three minutes."""
    return replace(
        measurement,
        jobs=min(measurement.jobs, _QUICK_JOBS),
        rounds=1,
        paced_s=min(measurement.paced_s, _QUICK_PACED_S),
        backlogs=tuple(sorted({min(each, _QUICK_BACKLOG) for each in measurement.backlogs})),
    )


def entrants(
    measurement: Measurement, only: str | None, within_s: float, profile: Path | None
) -> Iterator[Entrant]:
    """Give everyone who takes part, at each size.

    Raises:
        ValueError: `only` names somebody whom there is not.
    """
    for contestant in contestants.chosen(only or ",".join(measurement.names)):
        for backlog in measurement.backlogs:
            for processes in measurement.processes:
                told = [f"{backlog:,} behind"] if len(measurement.backlogs) > 1 else []
                told += [_several(processes)] if len(measurement.processes) > 1 else []
                yield Entrant(
                    key=", ".join([contestant.name, *told]),
                    title=", ".join([contestant.title, *told]),
                    contestant=contestant,
                    course=Course(
                        jobs=measurement.jobs,
                        backlog=backlog,
                        in_flight=measurement.in_flight,
                        processes=processes,
                        paced_per_s=measurement.paced_per_s,
                        paced_s=measurement.paced_s,
                        shares=measurement.shares,
                        urgent=measurement.urgent,
                        skipped=_SKIPPED if len(measurement.processes) > 1 else 0,
                        within_s=within_s,
                        profile=profile,
                    ),
                )


def _several(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
