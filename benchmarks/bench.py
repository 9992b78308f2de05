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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import contestants, publishing, shown
from benchmarks.contestants import Publisher
from benchmarks.figures import Figures, as_json, interleaved
from benchmarks.folder import in_folder
from benchmarks.measurements import MEASUREMENTS, Entrant, Measurement, entrants, sized
from benchmarks.race import run
from benchmarks.yard import Yard, set_up
from stack.arguments import positive
from stack.errors import StackError
from stack.house import ROOT

_RESULTS: Final = ROOT / "benchmarks/results"
_ROOM: Final = 400
_EPILOG: Final = """\
measurements:
{measurements}

reading the table:
  jobs/s          from the first call to the last reply of jobs that waited in the queue
  CPU us/job      user and system time of the process and its children, from /proc
  RSS MB          the most that they had in memory; several processes: the sum, shared pages counted each time
  p50, p99 ms     publish to reply of jobs at a steady rate that all of them bear, the upstream's time included
  start ms        from the start of the process to the first reply
  calls/job       more than 1: some were made twice
  limited by      worker: its CPU; waiting: nothing was busy, so it waited for the upstream or for itself;
                  simulator, collector, machine: the figure says more of the benchmark than of the contestant
Each figure is the median of the rounds, the least and the most below it. Contestants take turns within each round,
so that what else the machine does meets all alike. Compare figures of one run only.

examples:
  ./dev bench --quick                              everyone once, in under three minutes
  ./dev bench                                      five rounds
  ./dev bench --only warren,bare,faststream_httpx --rounds 3 --jobs 2000
  ./dev bench features --json features.json
  ./dev bench memory --only bare,warren_4k         the memory of 4,000 calls in flight
  ./dev bench backlog --backlogs 1000,50000        the same jobs before so many others
  ./dev bench --only warren --rounds 1 --profile profiles/    a flame graph of the worker

contestants:
{contestants}
"""


def main() -> int:
    """Measure, print the table, and write the figures."""
    parser = _parser()
    options = parser.parse_args()
    options.sizes = sized(options)
    try:
        options.entrants = list(
            entrants(options.sizes, options.only, options.within_s, options.profile)
        )
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
    return 0 if rounds else 1


async def _rounds(folder: Path, options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Run all rounds; an entrant that fails is told, and left out from then on."""
    sizes: Measurement = options.sizes
    yard = await asyncio.to_thread(
        set_up,
        folder,
        latency_s=sizes.latency_s,
        simulators=options.simulators,
        in_flight=sizes.in_flight,
        tell=_progress,
    )
    by_key = _by_key(options.entrants)
    found: dict[str, list[Figures]] = {key: [] for key in by_key}
    for number, order in enumerate(interleaved(list(by_key), sizes.rounds), start=1):
        for key in order:
            if key not in found:
                continue
            entrant = by_key[key]
            try:
                figures = await _one(entrant, yard)
            except StackError as error:
                del found[key]
                _progress(f"LEFT OUT: {error}")
                continue
            found[key].append(figures)
            _progress(
                f"round {number} of {sizes.rounds}: {key} {figures.jobs_per_s:,.0f} jobs/s, "
                f"{figures.cpu_us_per_job:,.0f} us/job"
            )
    return found


async def _one(entrant: Entrant, yard: Yard) -> Figures:
    if not isinstance(entrant.contestant, Publisher):
        return await run(entrant.contestant, yard, entrant.course)
    await asyncio.to_thread(yard.purge)
    url = yard.house.url("producer")
    return await publishing.measured(entrant.contestant.name, url, entrant.course.jobs)


def _by_key(taking_part: Sequence[Entrant]) -> dict[str, Entrant]:
    return {each.key: each for each in taking_part}


def _tell(options: argparse.Namespace, rounds: Mapping[str, Sequence[Figures]]) -> None:
    sizes: Measurement = options.sizes
    by_key = _by_key(options.entrants)
    titles = {key: each.title for key, each in by_key.items()}
    rows = [
        as_json(key, sizes.in_flight, figures, os.cpu_count() or 1)
        | {"processes": by_key[key].course.processes, "backlog": by_key[key].course.backlog}
        for key, figures in rounds.items()
    ]
    for table in shown.tables(rows, titles, _caption(sizes)):
        wide = Console(width=_ROOM).measure(table).maximum
        Console(highlight=False, width=wide).print(table)  # cut off it would tell nothing
    if options.measurement == "features":
        print("Always on:", *contestants.ALWAYS_ON, sep="\n  ")
    target: Path = options.json or _RESULTS / f"bench-{options.measurement}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = {
        "measurement": options.measurement,
        "jobs": sizes.jobs,
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
        f"median of {sizes.rounds}, least to most"
    )


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(positive(each) for each in text.split(","))


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {each.name:22} {each.title}" for each in contestants.ALL)
    named = "\n".join(
        f"  {name:10} {each.what:66} about {each.about_min} minutes"
        for name, each in MEASUREMENTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        epilog=_EPILOG.format(measurements=named, contestants=known),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("measurement", nargs="?", choices=MEASUREMENTS, default="peers", help="see below")
    add("--quick", action="store_true", help="one small round of everyone")
    add("--only", metavar="NAME,…", help="only these contestants")
    add("--rounds", type=positive, metavar="N", help="how often each one runs")
    add("--jobs", type=positive, metavar="N", help="jobs that wait in the queue for each run")
    add("--in-flight", type=positive, metavar="N", help="calls at once, of each process")
    add("--processes", type=_numbers, metavar="N,…", help="processes of each contestant")
    add("--backlogs", type=_numbers, metavar="N,…", help="so many jobs behind those measured")
    add("--latency-s", type=float, metavar="S", help="the upstream's time for each call")
    add("--paced-per-s", type=float, metavar="R", help="jobs a second of the paced part")
    add("--paced-s", type=float, metavar="S", help="how long each paced part lasts; 0: none")
    add("--simulators", type=positive, default=1, metavar="N", help="processes of the upstream")
    add("--within-s", type=float, default=300, metavar="S", help="when a run is given up")
    add("--profile", type=Path, metavar="FOLDER", help="a flame graph of each, by py-spy")
    add("--json", type=Path, metavar="FILE", help="where the figures go, and the plots beside it")
    parser.set_defaults(shares=None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
