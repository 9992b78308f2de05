"""Compare one Warren worker with its neighbours, with the floors under all of them, and with itself.

Every contestant does the same work in a process of its own: it takes requests of 1 KB from RabbitMQ, POSTs each to
the same upstream, publishes the answer, waits until the broker has confirmed it, and acknowledges last.
"""

import argparse
import functools
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import contestants, documents, page, plots, shown, targets
from benchmarks.documents import Document
from benchmarks.grid import Grid, terminal
from benchmarks.measurements import EVERYTHING, MEASUREMENTS, Task, about_s, tasks
from benchmarks.remaining import said
from benchmarks.rounds import Found, progress, run_all
from stack.arguments import positive
from stack.errors import StackError
from stack.house import ROOT
from worker.descriptors import raise_limit

_RESULTS: Final = ROOT / "benchmarks/results"
# Small runs never take the place of real ones.
_QUICK: Final = _RESULTS / "quick"
_TARGETS: Final = "targets"
_ROOM: Final = 400
_WRAPPED: Final = 130
_EPILOG: Final = """\
measurements:
{measurements}
  {everything:11} {everything_is}
  {targets:11} {targets_is}

reading the table:
{reading}
{once}

An option with a list may be given several times: --only bare --only warren.

examples:
  ./dev bench --quick                              everyone once, in under three minutes
  ./dev bench                                      five rounds of everyone
  ./dev bench all                                  everything, one after the other; each is written when it is done
  ./dev bench load memory                          only these, for instance what was left after a Ctrl-C
  ./dev bench targets                              what is reached, from the figures that are kept
  ./dev bench --only warren,bare,faststream_httpx --rounds 3 --jobs 2000
  ./dev bench features --json features.json
  ./dev bench memory --only bare,warren            10,000 calls in flight
  ./dev bench backlog --backlogs 1000,50000        the same jobs before so many others
  ./dev bench --only warren --rounds 1 --jobs 20000 --profile profiles/    a flame graph, and a table by layer

a shorter whole run:
{shorter}

contestants:
{contestants}
"""
# A whole run in less time, and what is given up for it.
_SHORTER: Final = {
    "all --rounds 1": "everything, without a spread",
    "all --rounds 1 --only warren,bare,faststream_aiohttp,warren_bulk": "what the targets need",
    "all --quick": "tells that everything works, and no more",
}


def main() -> int:
    """Measure, print the tables, and write the figures."""
    parser = _parser()
    options = parser.parse_args()
    folder = _QUICK if options.quick else _RESULTS
    if _TARGETS in options.measurements:
        return _targets(folder)
    try:
        wanted = tasks(options)
    except ValueError as error:
        parser.error(str(error))
    raise_limit()  # for the simulator, the collector and the peers: a connection for each call
    told = _Told(folder, options.json, wanted)
    try:
        run_all(wanted, options, told.done)
    except StackError as error:
        print(f"./dev bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if len(wanted) > 1:
        _tell_targets(documents.kept(folder))
    return 0 if told.complete else 1


class _Told:
    """Prints and writes what each measurement found as soon as it is done."""

    def __init__(self, folder: Path, file: Path | None, wanted: Sequence[Task]) -> None:
        self.complete = True
        self._folder = folder
        self._file = file
        self._several = len(wanted) > 1
        self._all: list[Document] = []

    def done(self, task: Task, found: Found) -> None:
        """Tell of a measurement; one in which everybody failed leaves what was kept of an earlier one."""
        document = documents.document(task, found, sys.argv[1:])
        if not document["contestants"]:
            self.complete = False
            return
        _print(shown.grids(document))
        for line in shown.limits(document):
            print(line)
        if task.name == "features":
            print("Always on:", *contestants.ALWAYS_ON, sep="\n  ")
        paths = self._write(task, document)
        progress(f"written: {', '.join(str(path) for path in paths)}")

    def _write(self, task: Task, document: Document) -> list[Path]:
        self._all.append(document)
        path = documents.path_of(self._folder, task.name)
        if self._file is not None:
            whole: Any = {"measurements": self._all} if self._several else document
            documents.write(self._file, whole)
            path = (
                self._file.with_name(f"{self._file.stem}-{task.name}.json")
                if self._several
                else self._file
            )
            return [self._file, *plots.written(document, path)]
        documents.write(path, document)
        pictures = plots.written(document, path)
        return [
            path,
            *pictures,
            page.write(self._folder, "../.." if self._folder == _QUICK else ".."),
        ]


def _targets(folder: Path) -> int:
    """Print how the targets stand, by what was measured last."""
    found = documents.kept(folder)
    _tell_targets(found)
    return 1 if targets.missed(found) else 0


def _tell_targets(found: targets.Documents) -> None:
    _print([targets.grid(found)])
    if (caution := targets.caution(found)) is not None:
        print(caution)


def _print(grids: Sequence[Grid]) -> None:
    for grid in grids:
        table = terminal(grid)
        wide = Console(width=_ROOM).measure(table).maximum
        Console(highlight=False, width=wide).print(table)  # cut off it would tell nothing


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [positive(each) for each in text.split(",")]


def _measurement(text: str) -> str:
    known = (*MEASUREMENTS, EVERYTHING, _TARGETS)
    if text not in known:
        raise argparse.ArgumentTypeError(f"there is no {text}; there are {', '.join(known)}")
    return text


def _parser() -> argparse.ArgumentParser:
    known = "\n".join(f"  {each.name:22} {each.title}" for each in contestants.ALL)
    named = "\n".join(
        f"  {name:11} {each.what:67} about {said(about_s(name))}"
        for name, each in MEASUREMENTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("measurements", nargs="*", type=_measurement, default=["peers"], help="see below; peers")
    add("--quick", action="store_true", help="one small round of everyone")
    add("--only", type=_names, action="extend", metavar="NAME,…", help="only these contestants")
    add("--rounds", type=positive, metavar="N", help="how often each one runs")
    add("--jobs", type=positive, metavar="N", help="jobs that wait in the queue for each run")
    listed = functools.partial(add, type=_numbers, action="extend", metavar="N,…")
    listed("--in-flight", dest="in_flights", help="calls at once, of each process")
    listed("--processes", help="processes of each contestant")
    listed("--backlogs", help="so many jobs behind those measured")
    add("--latency-s", type=float, metavar="S", help="the upstream's time for each call")
    add("--paced-per-s", type=float, metavar="R", help="jobs a second of the paced part")
    add("--paced-s", type=float, metavar="S", help="how long each paced part lasts; 0: none")
    add("--simulators", type=positive, default=1, metavar="N", help="processes of the upstream")
    add("--within-s", type=float, default=300, metavar="S", help="when a run is given up")
    add("--urgent", type=positive, metavar="N", help="jobs of high priority behind the backlog")
    add("--profile", type=Path, metavar="FOLDER", help="where each one's CPU went, by py-spy")
    add("--json", type=Path, metavar="FILE", help="where the figures go, and the plots beside it")
    parser.set_defaults(shares=None)
    shorter = (
        f"  about {said(_about_s(parser, each)):8} ./dev bench {each}\n{'':17}{what}"
        for each, what in _SHORTER.items()
    )
    parser.epilog = _EPILOG.format(
        measurements=named,
        contestants=known,
        reading="\n".join(map(_read, shown.READING, shown.READING.values())),
        once=textwrap.fill(shown.ONCE, _WRAPPED),
        shorter="\n".join(shorter),
        everything=EVERYTHING,
        everything_is=f"all of these; about {said(_about_s(parser, EVERYTHING))}",
        targets=_TARGETS,
        targets_is="measures nothing: what was measured last beside what is to be reached; status 1 if one is missed",
    )
    return parser


def _read(head: str, meaning: str) -> str:
    return textwrap.fill(
        meaning, _WRAPPED, initial_indent=f"  {head:16} ", subsequent_indent=" " * 19
    )


def _about_s(parser: argparse.ArgumentParser, arguments: str) -> float:
    return sum(task.about_s for task in tasks(parser.parse_args(arguments.split())))


if __name__ == "__main__":
    sys.exit(main())
