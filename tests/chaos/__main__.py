"""The long run that tries to break Warren's promise: `./dev chaos`, or `python -m tests.chaos`."""

import random
import sys
from collections.abc import Sequence

from rich.console import Console

from stack import interrupts
from tests.chaos import report
from tests.chaos.catalogue import EXPERIMENTS
from tests.chaos.display import Display
from tests.chaos.experiment import Experiment
from tests.chaos.nodes import Nodes, working_folder
from tests.chaos.options import Options, read
from tests.chaos.page import PAGE, write_table
from tests.chaos.result import Result, Row
from tests.chaos.runner import perform


def main(arguments: Sequence[str], catalogue: Sequence[Experiment] = EXPERIMENTS) -> int:
    """Run what is asked for; gives 0, 1 when a bound was broken or an experiment failed, 130 after Ctrl-C."""
    options = read(arguments, catalogue)
    console = Console(highlight=False)
    if options.only_list:
        console.print(report.listing(options.experiments))
        return 0
    rows: list[Row] = []
    try:
        result = run(options, console, rows)
    except KeyboardInterrupt:
        if rows:
            console.print(
                report.table(Result.of(rows, seed=0, minutes=options.minutes, brokers={}))
            )
        console.print("given up; nothing is left running", style="red")
        return 130
    console.print(report.table(result))
    console.print(report.verdict(result), soft_wrap=True)
    _write(options, result)
    return 0 if result.kept else 1


def run(options: Options, console: Console, rows: list[Row]) -> Result:
    """Run the experiments one after the other, and put a row for each into `rows` as soon as it is there."""
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    console.print(f"seed {seed}; about {options.minutes:.3g} minutes in all")
    with working_folder() as folder, Nodes(folder / "nodes") as nodes:
        display = Display(console, options.experiments, scale=options.scale)
        with display:
            for experiment in options.experiments:
                row = perform(
                    experiment,
                    nodes,
                    folder=folder / experiment.name.replace(" ", "-"),
                    seed=seed,
                    scale=options.scale,
                    display=display,
                )
                rows.append(row)
        return Result.of(rows, seed=seed, minutes=options.minutes, brokers=nodes.versions)


def _write(options: Options, result: Result) -> None:
    if options.json is not None:
        options.json.write_text(report.as_json(result), encoding="utf-8")
    if options.write_docs:
        write_table(PAGE, report.markdown(result))


def as_process(arguments: Sequence[str], catalogue: Sequence[Experiment] = EXPERIMENTS) -> int:
    """Be the whole process: a polite end, by SIGTERM, is an end as by Ctrl-C, and leaves nothing running."""
    interrupts.heed()
    return main(arguments, catalogue)


if __name__ == "__main__":
    sys.exit(as_process(sys.argv[1:]))
