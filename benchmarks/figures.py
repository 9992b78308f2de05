"""What is made of the rounds: medians and spread, who was the bottleneck, and in which order contestants run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

# Where the distribution of latencies is looked at.
SHARES: Final = (0.1, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)
# A process that computes for this share of its time has no time left to wait: it is what the others wait for.
_BUSY: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One contestant in one round.

    `start_ms` is from the start of its process to the first reply; the latencies are those of the paced jobs, from
    their publish to the arrival of their replies, the upstream's own time included. `cores` is how many cores each part
    kept busy, and all that has no part in it, and `busiest_simulator` that of the busiest of the simulator's processes. `loads` has latencies by
    name and rate, `curves` what was added at each rate: the value at each of `SHARES` of the jobs.
    """

    jobs_per_s: float
    cpu_us_per_job: float
    rss_mb: float
    pss_mb: float
    start_ms: float
    latency_p50_ms: float
    latency_p99_ms: float
    calls_per_job: float
    cores: Mapping[str, float]
    busiest_simulator: float
    loads: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of several rounds, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Give it of at least one value."""
        return cls(median=median(values), least=min(values), most=max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of the values do not exceed (nearest rank); 0 of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def interleaved(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Give the order of each round: everyone once in each, and each round begins with another.

    So what changes while the benchmark runs, such as the machine's other load, meets all alike.
    """
    return [
        [*names[first:], *names[:first]]
        for first in (number % (len(names) or 1) for number in range(rounds))
    ]


def verdict(cores: Mapping[str, float], busiest_simulator: float, machine: int) -> str:
    """Tell what kept the figure from being higher: a part that was busy all the time, the whole machine, or only waiting.

    The collector, each of the simulator's processes and the worker's interpreter use one core at most; a worker of several
    processes uses more.
    """
    alone = {"simulator": busiest_simulator, **{k: v for k, v in cores.items() if k != "simulator"}}
    for part in ("simulator", "collector", "worker"):
        if alone.get(part, 0) >= _BUSY:
            return part
    if sum(cores.values()) >= _BUSY * machine:
        return "machine"
    return "waiting"


def spreads(rounds: Sequence[Figures]) -> dict[str, Spread]:
    """Give the spread of each figure that is a number."""
    rows = [{**asdict(each), **each.loads} for each in rounds]
    return {
        name: Spread.of([row[name] for row in rows])
        for name, value in rows[0].items()
        if isinstance(value, int | float)
    }


def as_json(name: str, in_flight: int, rounds: Sequence[Figures], machine: int) -> dict[str, Any]:
    """Give the object of one contestant: medians by name, the spread of each, and every round as it was."""
    found = spreads(rounds)
    parts = rounds[0].cores
    cores = {part: round(median(each.cores[part] for each in rounds), 2) for part in parts}
    return {
        "name": name,
        "in_flight": in_flight,
        **{key: round(value.median, 2) for key, value in found.items()},
        "bottleneck": verdict(cores, found["busiest_simulator"].median, machine),
        "cores": cores,
        "loads": list(rounds[0].loads),
        "curves": {
            rate: [
                round(median(values), 3)
                for values in zip(*(each.curves[rate] for each in rounds), strict=True)
            ]
            for rate in rounds[0].curves
        },
        "spread": {key: [round(of.least, 2), round(of.most, 2)] for key, of in found.items()},
        "rounds": [asdict(each) for each in rounds],
    }
