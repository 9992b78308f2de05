"""A worker with a planted bug, or none, that may kill or stop itself at a named step of the line.

    python -m tests.faults.mutant_worker BUG [--kill STEP COPY N | --stop STEP COPY N] [--job ID] [--lease SECONDS] [--page-cache KIB]

BUG is a name out of `mutants.table`, `sound` for none. STEP is one of the line's, or `headers` and `body` (those of
a response begin to come in), or `renewed` (the lease). COPY is reply, parked, dead, or "-" for steps that publish
nothing; it is the N-th time that counts. `--job`: only steps of that job, and what happens in its call. `--stop`
suspends the process (SIGSTOP) until somebody continues it. `--page-cache`: how much of its file the store keeps in memory.

It prints a line "step STEP COPY JOB" for each step of the line, and "tasks N" when it renews its lease. Everything
else is the worker as it is.
"""

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta

from tests.faults.mutants.table import BUGS
from tests.faults.stations import announce
from worker.app import run
from worker.core.events import Event, LeaseRenewed, StepReached
from worker.settings import load
from worker.store.embedded import connection
from worker.store.embedded.options import EmbeddedOptions


@dataclass(slots=True)
class Interruption:
    """Sends this process a signal when it comes to a step for the n-th time."""

    number: signal.Signals
    step: str
    copy: str
    left: int
    job: str | None
    calling: bool = False

    def reached(self, step: str, copy: str = "-", job: str | None = None) -> None:
        if step == "calling" and job == self.job:
            self.calling = True
        mine = self.job is None or job == self.job or (job is None and self.calling)
        if mine and (step, copy) == (self.step, self.copy):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


class Steps:
    """Prints the steps of the line, and interrupts the process at one."""

    def __init__(self, interruption: Interruption | None) -> None:
        self._interruption = interruption

    def tell(self, event: Event) -> None:
        match event:
            case StepReached(step=step, copy=copy, job_id=job):
                _say(f"step {step} {copy or '-'} {job}")
                self._reached(step, copy or "-", job)
            case LeaseRenewed():
                _say(f"tasks {len(asyncio.all_tasks())}")
                self._reached("renewed")
            case _:
                pass

    def _reached(self, step: str, copy: str = "-", job: str | None = None) -> None:
        if self._interruption is not None:
            self._interruption.reached(step, copy, job)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _lease(lease: timedelta) -> None:
    """Give the store's claims another lease than the one that nobody can configure."""
    defaults = EmbeddedOptions.__init__.__kwdefaults__ or {}
    assert {"lease", "renew_every"} <= defaults.keys()
    defaults |= {"lease": lease, "renew_every": lease / 4}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bug", choices=BUGS)
    parser.add_argument("--kill", nargs=3)
    parser.add_argument("--stop", nargs=3)
    parser.add_argument("--job")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--page-cache", type=int, default=connection.PAGE_CACHE_KIB)
    given = parser.parse_args()
    BUGS[given.bug]()
    if given.lease is not None:
        _lease(timedelta(seconds=given.lease))
    setattr(connection, "PAGE_CACHE_KIB", given.page_cache)  # noqa: B010  # a constant to everybody else
    interruption = None
    for number, place in ((signal.SIGKILL, given.kill), (signal.SIGSTOP, given.stop)):
        if place is not None:
            step, copy, left = place
            interruption = Interruption(number, step, copy, int(left), given.job)
            announce(interruption.reached)
    return run(load(None, os.environ), listeners=[Steps(interruption)])


if __name__ == "__main__":
    sys.exit(main())
