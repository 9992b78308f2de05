"""What `./dev chaos` takes, and how much of each experiment that makes."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.catalogue import EXPERIMENTS
from tests.chaos.experiment import Experiment

_ABOUT = """\
Tries to break Warren's promise, and tells what it measured against each bound: processes killed, connections cut,
brokers and stores harmed, poisoned messages, an upstream gone mad. Exit status 0: every bound held; 1: one was broken, or
an experiment failed; 2: wrong usage; 130: given up. docs/testing.md tells how to read it and how to add an experiment."""

_EXAMPLES = """\
examples:
  ./dev chaos                                 everything at full size, about {total:.0f} minutes
  ./dev chaos --minutes 10 --seed 7           everything, each experiment cut down in proportion
  ./dev chaos --only kills sigterms           these two at full size
  ./dev chaos --only kills --minutes 1        one, in about a minute
  ./dev chaos --json figures.json --write-docs   the figures of docs/guarantees.md, made anew
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run and where to put what was found. `scale` is the share of the full size that each gets."""

    experiments: tuple[Experiment, ...]
    minutes: float
    seed: int | None
    json: Path | None
    write_docs: bool
    only_list: bool

    @property
    def scale(self) -> float:
        """The part of its full size that each experiment gets; above 1 when more minutes are given."""
        return self.minutes / sum(each.minutes for each in self.experiments)


def read(arguments: Sequence[str], catalogue: Sequence[Experiment] = EXPERIMENTS) -> Options:
    """Read the command line; a mistake ends the process with 2 and says what is wrong."""
    parser = _parser(catalogue)
    given = parser.parse_args(arguments)
    if given.write_docs and (given.only or given.ci):
        parser.error("--write-docs writes the whole table: it goes with neither --only nor --ci")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        parser.error(f"--json {given.json}: there is no such folder")
    if given.json is not None and given.json.is_dir():
        parser.error(f"--json {given.json}: is a folder; name a file")
    chosen = [each for each in catalogue if each.in_ci or not given.ci]
    if given.only:
        chosen = [each for each in chosen if each.name in given.only]
    if not chosen:
        parser.error("there is no experiment to run")
    full = sum(each.minutes for each in chosen)
    return Options(
        experiments=tuple(chosen),
        minutes=full if given.minutes is None else given.minutes,
        seed=given.seed,
        json=given.json,
        write_docs=given.write_docs,
        only_list=given.list,
    )


def _parser(catalogue: Sequence[Experiment]) -> argparse.ArgumentParser:
    total = sum(each.minutes for each in catalogue)
    parser = argparse.ArgumentParser(
        prog="./dev chaos",
        description=_ABOUT,
        epilog=_EXAMPLES.format(total=total),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--minutes",
        type=_minutes,
        metavar="M",
        help="about so long in all: each experiment is cut down, or grows, in proportion (default: full size)",
    )
    add(
        "--seed", type=int, metavar="S", help="what chance is drawn from (default: a new one, told)"
    )
    add(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=[each.name for each in catalogue],
        help="only these experiments; they share the minutes",
    )
    add("--ci", action="store_true", help="only those that fit into the small run of ./dev test")
    add("--json", type=Path, metavar="FILE", help="write all that was measured there")
    add("--list", action="store_true", help="tell which experiments there are, and run none")
    add(
        "--write-docs",
        action="store_true",
        help="put the table into docs/guarantees.md, instead of the one that is there; never done unasked",
    )
    return parser


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if 0 < minutes < math.inf:
        return minutes
    raise argparse.ArgumentTypeError(f"{text!r} must be a number of minutes above 0")
