"""A worker that kills itself with SIGKILL at a named step of the line, the n-th time it comes there.

    python -m tests.acceptance.crashing_worker STEP COPY N

COPY is "-" for steps that publish nothing, else reply, parked or dead. STEP "renewed" is the lease's renewal.
Everything else is the worker as it is: it only listens to the line's events.
"""

import os
import signal
import sys

from worker.app import run
from worker.core.events import Event, LeaseRenewed, StepReached
from worker.settings import load


class Killer:
    def __init__(self, step: str, copy: str, number: int) -> None:
        self._step, self._copy, self._left = step, None if copy == "-" else copy, number

    def tell(self, event: Event) -> None:
        match event:
            case StepReached(step=step, copy=copy):
                here = step == self._step and copy == self._copy
            case LeaseRenewed():
                here = self._step == "renewed"
            case _:
                here = False
        if here:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(
        run(load(None, os.environ), listeners=[Killer(sys.argv[1], sys.argv[2], int(sys.argv[3]))])
    )
