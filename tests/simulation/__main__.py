"""`python -m tests.simulation`: plays seeded schedules of the whole line, and says how to repeat one that fails.

Exit statuses: 0, every promise was kept (with `--mutants`: every planted bug was caught); 1, not so.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.simulation.many import Tally, explain, play_all
from tests.simulation.mutants import MUTANTS, hunt


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    options = _options(arguments)
    if options.only is not None:
        without = None if options.without is None else _numbers(options.without)
        lines = list(explain(options.only, without))
        _say(*lines)
        return int(any(line.split(":")[0].isupper() for line in lines if line))
    if options.mutants:
        return _hunt_all(options.schedules, options.seed)
    seeds = range(options.seed, options.seed + options.schedules)
    tally = play_all(seeds, report=_progress)
    _say("", _summary(tally))
    for seed, violation in tally.broken:
        _say(f"seed {seed}: {violation}")
    if tally.broken:
        _say("", *explain(tally.broken[0][0]))
    return int(bool(tally.broken))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000, help="how many seeds to play")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", type=int, metavar="SEED", help="tell this seed's story")
    parser.add_argument("--without", metavar="N,N", help="with --only: leave these actions out")
    parser.add_argument("--mutants", action="store_true", help="hunt the planted bugs instead")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _hunt_all(schedules: int, seed: int) -> int:
    missed = 0
    for mutant in MUTANTS.values():
        caught = hunt(mutant, range(seed, seed + schedules))
        missed += caught is None
        if caught is None:
            _say(f"{mutant.name}: NOT caught in {schedules} schedules")
        else:
            found = next(each for each in caught.violations if each.kind in mutant.breaks)
            _say(f"{mutant.name}: seed {caught.plan.seed}, {found}")
    return int(bool(missed))


def _progress(tally: Tally, seconds: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(
            f"\r{tally.schedules} schedules, {tally.schedules / max(seconds, 0.001):.0f}/s, "
            f"{len(tally.broken)} broken "
        )


def _summary(tally: Tally) -> str:
    harm = sum(count for what, count in tally.actions.items() if what != "clients.submit")
    return (
        f"{tally.schedules} schedules: {tally.actions['clients.submit']} submissions, {harm} other actions, "
        f"{tally.calls} calls, {tally.steps} steps, {tally.virtual_s / 3600:.1f} h of virtual time; "
        f"{sum(tally.kinds.values())} violations"
    )


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
