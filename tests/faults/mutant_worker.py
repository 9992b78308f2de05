"""A worker with a planted bug, that may kill or stop itself at a named step of the line.

    python -m tests.faults.mutant_worker BUG [--kill STEP COPY N | --stop STEP COPY N] [--lease SECONDS]

BUG is a name out of `mutants.table`, `sound` for none. STEP, COPY and N are as for the crashing worker: COPY is
"-" for steps that publish nothing. `--stop` suspends the process (SIGSTOP) until somebody continues it. It prints
a line "step STEP COPY JOB" for each step that it reaches. Everything else is the worker as it is.
"""

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from tests.faults.mutants.plant import plant
from tests.faults.mutants.table import BUGS
from worker import parts
from worker.app import run
from worker.core.events import Event, StepReached
from worker.settings import load
from worker.store.embedded.options import EmbeddedOptions


@dataclass(slots=True)
class Interruption:
    """Sends this process a signal when it reaches a step for the n-th time."""

    number: signal.Signals
    step: str
    copy: str
    left: int

    def reached(self, step: str, copy: str) -> None:
        if (step, copy) == (self.step, self.copy):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


class Steps:
    """Prints the steps of the line, and interrupts the process at one."""

    def __init__(self, interruption: Interruption | None) -> None:
        self._interruption = interruption

    def tell(self, event: Event) -> None:
        if isinstance(event, StepReached):
            copy = event.copy or "-"
            sys.stdout.write(f"step {event.step} {copy} {event.job_id}\n")
            sys.stdout.flush()
            if self._interruption is not None:
                self._interruption.reached(event.step, copy)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bug", choices=BUGS)
    parser.add_argument("--kill", nargs=3)
    parser.add_argument("--stop", nargs=3)
    parser.add_argument("--lease", type=float)
    given = parser.parse_args()
    BUGS[given.bug]()
    if given.lease is not None:
        lease = timedelta(seconds=given.lease)
        plant(
            parts, "EmbeddedOptions", partial(EmbeddedOptions, lease=lease, renew_every=lease / 4)
        )
    interruption = None
    for number, place in ((signal.SIGKILL, given.kill), (signal.SIGSTOP, given.stop)):
        if place is not None:
            step, copy, left = place
            interruption = Interruption(number, step, copy, int(left))
    return run(load(None, os.environ), listeners=[Steps(interruption)])


if __name__ == "__main__":
    sys.exit(main())
