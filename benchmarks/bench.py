"""Compare one Warren worker with its neighbours, with the floors under all of them, and with itself.

Every contestant does the same work in a process of its own: it takes requests of 1 KB from RabbitMQ, POSTs each to
the same upstream, publishes the answer, waits until the broker has confirmed it, and acknowledges last.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import contestants, shown
from benchmarks.contestants import Contestant, Warren
from benchmarks.figures import Figures, as_json, interleaved
from benchmarks.folder import in_folder
from benchmarks.race import Course, run
from benchmarks.yard import Yard, set_up
from stack.arguments import positive
from stack.errors import StackError
from stack.house import ROOT

_RESULTS: Final = ROOT / "benchmarks/results"
_EPILOG: Final = """\
measurements:
  peers      everyone, one worker process each                           about 25 minutes
  features   Warren with one thing switched off at a time                about 15 minutes
  memory     10,000 calls in flight to an upstream of 5 s                about 5 minutes

reading the table:
  jobs/s          from the first call to the last reply of jobs that waited in the queue
  CPU us/job      user and system time of the process and its children, from /proc
  RSS MB          the most that they had in memory; several processes: the sum, shared pages counted each time
  p50, p99 ms     publish to reply of jobs at a steady rate that all of them bear, the upstream's time included
  calls/job       more than 1: some were made twice
  limited by      worker: its CPU; waiting: nothing was busy, so it waited for the upstream or for itself;
                  simulator, collector, machine: the figure says more of the benchmark than of the contestant
Each figure is the median of the rounds, the least and the most behind it. Contestants take turns within each round,
so that what else the machine does meets all alike. Compare figures of one run only.

examples:
  ./dev bench --quick                              everyone once, in under three minutes
  ./dev bench                                      five rounds
  ./dev bench --only warren,bare,faststream_httpx --rounds 3 --jobs 2000
  ./dev bench features --json features.json
  ./dev bench memory --only warren,bare            the memory of 10,000 calls in flight

contestants:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a name stands for: who takes part, and the sizes where the command line gives none."""

    names: tuple[str, ...]
    jobs: int
    in_flight: int
    latency_s: float = 0.045
    rounds: int = 5
    paced_per_s: float = 50
    paced_s: float = 10


_PEERS: Final = Measurement(
    names=(*(each.name for each in contestants.PEERS), contestants.EVERYTHING_ON.name),
    jobs=4000,
    in_flight=200,
)
MEASUREMENTS: Final = {
    "peers": _PEERS,
    "features": replace(
        _PEERS,
        names=(contestants.EVERYTHING_ON.name, *(each.name for each in contestants.FEATURES)),
        jobs=10_000,
    ),
    "memory": Measurement(
        names=("bare", "gateway", "faststream_aiohttp", "warren"),
        jobs=20_000,
        in_flight=10_000,
        latency_s=5,
        rounds=1,
        paced_s=0,
    ),
}
_WIDTH: Final = 132
# Sizes of `--quick`: everyone in under three minutes.
_QUICK: Final = {"jobs": 800, "rounds": 1, "paced_s": 2.0}


def main() -> int:
    """Measure, print the table, and write the figures."""
    parser = _parser()
    options = parser.parse_args()
    named = MEASUREMENTS[options.measurement]
    given = {
        key: getattr(options, key)
        for key in ("jobs", "in_flight", "latency_s", "rounds", "paced_per_s", "paced_s")
        if getattr(options, key) is not None
    }
    options.sizes = replace(named, **{**(_QUICK if options.quick else {}), **given})
    try:
        options.taking_part = contestants.chosen(options.only or ",".join(named.names))
    except ValueError as error:
        parser.error(str(error))
    try:
        rounds = in_folder("bench", _rounds, options)
    except StackError as error:
        print(f"./dev bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _tell(options, rounds)
    return 0


async def _rounds(folder: Path, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Run all rounds; a contestant that fails is told, and left out from then on."""
    sizes: Measurement = options.sizes
    yard: Yard = await asyncio.to_thread(
        set_up,
        folder,
        latency_s=sizes.latency_s,
        simulators=options.simulators,
        in_flight=sizes.in_flight,
        tell=_progress,
    )
    by_name = _by_name(options.taking_part)
    found: dict[str, list[Figures]] = {name: [] for name in by_name}
    course = Course(
        jobs=sizes.jobs,
        in_flight=sizes.in_flight,
        paced_per_s=sizes.paced_per_s,
        paced_s=sizes.paced_s,
        within_s=options.within_s,
    )
    failed: set[str] = set()
    for number, order in enumerate(interleaved(list(by_name), sizes.rounds), start=1):
        for name in order:
            if name in failed:
                continue
            try:
                figures = await run(by_name[name], yard, course)
            except StackError as error:
                failed.add(name)
                _progress(f"LEFT OUT: {error}")
                continue
            found[name].append(figures)
            _progress(
                f"round {number} of {sizes.rounds}: {name} {figures.jobs_per_s:,.0f} jobs/s, "
                f"{figures.cpu_us_per_job:,.0f} us/job"
            )
    return {name: rounds for name, rounds in found.items() if name not in failed}


def _by_name(taking_part: Iterable[Contestant | Warren]) -> dict[str, Contestant | Warren]:
    return {each.name: each for each in taking_part}


def _tell(options: argparse.Namespace, rounds: dict[str, list[Figures]]) -> None:
    sizes: Measurement = options.sizes
    titles = {each.name: each.title for each in options.taking_part}
    rows = [
        as_json(name, sizes.in_flight, figures, os.cpu_count() or 1)
        for name, figures in rounds.items()
    ]
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)  # cut off it would tell nothing
    console.print(shown.table(rows, titles, _caption(sizes)))
    if options.measurement == "features":
        print("Always on:", *contestants.ALWAYS_ON, sep="\n  ")
    target: Path = options.json or _RESULTS / f"bench-{options.measurement}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = {
        "measurement": options.measurement,
        "jobs": sizes.jobs,
        "rounds": sizes.rounds,
        "upstream_ms": sizes.latency_s * 1000,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "contestants": rows,
    }
    target.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    written = shown.plots(rows, titles, target)
    _progress(f"written: {', '.join(str(path) for path in (target, *written))}")


def _caption(sizes: Measurement) -> str:
    return (
        f"{sizes.jobs:,} jobs, {sizes.in_flight:,} in flight, an upstream of {sizes.latency_s * 1000:.0f} ms; "
        f"{sizes.rounds} rounds: median, least to most"
    )


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {each.name:22} {each.title}" for each in contestants.ALL)
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        epilog=_EPILOG + rows,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("measurement", nargs="?", choices=MEASUREMENTS, default="peers", help="see below")
    add("--quick", action="store_true", help="one small round of everyone")
    add("--only", metavar="NAME,…", help="only these contestants")
    add("--rounds", type=positive, metavar="N", help="how often each one runs")
    add("--jobs", type=positive, metavar="N", help="jobs that wait in the queue for each run")
    add("--in-flight", type=positive, metavar="N", help="calls at once")
    add("--latency-s", type=float, metavar="S", help="the upstream's time for each call")
    add("--paced-per-s", type=float, metavar="R", help="jobs a second of the paced part")
    add("--paced-s", type=float, metavar="S", help="how long the paced part lasts; 0: none")
    add("--simulators", type=positive, default=1, metavar="N", help="processes of the upstream")
    add("--within-s", type=float, default=300, metavar="S", help="when a run is given up")
    add("--json", type=Path, metavar="FILE", help="where the figures go, and the plots beside it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
