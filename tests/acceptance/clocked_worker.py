"""A worker whose wall clock is a test's: it shows what stands in a file, and moves with it.

    python -m tests.acceptance.clocked_worker FILE

The file holds an instant, ISO 8601. Everything else is the worker as it is.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

from worker.app import run
from worker.clock import SystemClock
from worker.settings import load


class FileClock:
    """Shows the file's instant; its monotonic side is the system's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._system = SystemClock()

    def now(self) -> datetime:
        return datetime.fromisoformat(self._file.read_text(encoding="ascii"))

    def monotonic(self) -> float:
        return self._system.monotonic()


if __name__ == "__main__":
    sys.exit(run(load(None, os.environ), clock=FileClock(Path(sys.argv[1]))))
