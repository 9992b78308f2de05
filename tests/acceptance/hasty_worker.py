"""A worker with a planted bug: it acknowledges a delivery as soon as it has it."""

import os
import sys

from worker import crew
from worker.app import run
from worker.ports import Delivery
from worker.settings import load

_take = crew.Crew.take


def _hasty(self: crew.Crew, delivery: Delivery) -> None:
    self.spawn(delivery.ack())
    _take(self, delivery)


if __name__ == "__main__":
    crew.Crew.take = _hasty  # type: ignore[method-assign]  # the planted bug
    sys.exit(run(load(None, os.environ)))
