"""Which endpoint takes a call: the policies of `worker/core/routing.py` against each other, in virtual time.

    .venv/bin/python benchmarks/routing.py                                  # all, about a minute
    .venv/bin/python benchmarks/routing.py --only slow,failing --workers 4
    .venv/bin/python benchmarks/routing.py --json routing.json --plot benchmarks/results/routing.svg

A run is a few thousand jobs over three endpoints, one of which is odd; the same seed gives the same figures on every
machine. Cells hold a figure for each number of workers. Read them so:

  p50, p99      job time in seconds, tries and waits included, while something is the matter
  off weights   how far an endpoint's share of the calls is off its weight's, at most; for `recovers`, `hangs` and
                `fresh` after that. Small is good in `equal`, and after a recovery; elsewhere the odd one *should* get less
  wasted        calls for each job that failed or were refused
  odd           the odd endpoint's share of the calls; a third would be its weight's
  at first      of its first second, relative to its weight's share: above 1 a fresh endpoint is overrun

`round-robin` and `random` know the weights and nothing else: what a policy must beat.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.routing_figures import POLICIES, Figures, measure
from benchmarks.routing_picture import picture
from benchmarks.routing_scenarios import SCENARIOS

_COLUMNS: Final[dict[str, Callable[[Figures], str]]] = {
    "p50 s": lambda f: f"{f.p50_s:.2f}",
    "p99 s": lambda f: f"{f.p99_s:.1f}",
    "off weights %": lambda f: f"{100 * f.off_weights:.0f}",
    "wasted": lambda f: f"{f.wasted:.3f}",
    "odd %": lambda f: f"{100 * f.odd_share:.1f}",
    "at first": lambda f: f"{f.at_first:.1f}",
}


def main() -> int:
    """Run the simulation and print its figures."""
    options = _options()
    figures = [
        measure(scenario, policy, workers=workers, jobs=options.jobs, seed=options.seed)
        for scenario in SCENARIOS
        if not options.only or scenario.name in options.only
        for policy in options.policies or POLICIES
        for workers in options.workers
    ]
    console = Console(width=None if sys.stdout.isatty() else 120)
    for scenario in SCENARIOS:
        rows = [each for each in figures if each.scenario == scenario.name]
        if rows:
            console.print(_table(f"{scenario.name}: {scenario.says}", rows, options.workers))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")
    if options.plot is not None:
        shown = options.workers[len(options.workers) // 2]
        says = f"Policies with {shown} workers, {options.jobs} jobs, seed {options.seed}"
        few = [each for each in figures if each.workers == shown]
        options.plot.write_text(picture(few, says=says))
    return 0


def _table(title: str, rows: Sequence[Figures], workers: Sequence[int]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(f"workers: {'/'.join(map(str, workers))}")
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for policy in dict.fromkeys(each.policy for each in rows):
        mine = [each for each in rows if each.policy == policy]
        table.add_row(policy, *("/".join(map(show, mine)) for show in _COLUMNS.values()))
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=8000, help="of each run; at least 1000")
    parser.add_argument("--seed", type=int, default=1, help="another one is another day")
    parser.add_argument("--workers", type=_numbers, default=[1, 4, 16], help="such as 1,4,16")
    parser.add_argument("--only", type=_names, default=[], help="scenarios, such as slow,failing")
    parser.add_argument("--policies", type=_names, default=[], help="such as ewma,least-load")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them (SVG) into this file")
    options = parser.parse_args()
    unknown = {*options.only} - {each.name for each in SCENARIOS}
    unknown |= {*options.policies} - {*POLICIES}
    if unknown:
        known = ", ".join([*(each.name for each in SCENARIOS), *POLICIES])
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {known}")
    if options.jobs < 1000:  # noqa: PLR2004  # the help says so
        parser.error("--jobs must be at least 1000, or a second has no jobs to count")
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


if __name__ == "__main__":
    sys.exit(main())
