"""The processes that an experiment started and did not end."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def children() -> frozenset[int]:
    """Give the ids of this process's children; none where the kernel does not list them."""
    found: set[int] = set()
    for listed in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with suppress(OSError):
            found.update(int(word) for word in listed.read_text(encoding="ascii").split())
    return frozenset(found)


def end(processes: frozenset[int]) -> None:
    """Kill these children of ours, so that none runs on beside the next experiment."""
    for process in processes:
        # A child's number cannot be another's before somebody has waited for it.
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process, 0)
