"""What a process holds, as the kernel counts it, and what a worker tells of itself."""

import os
import re
import urllib.request
from pathlib import Path
from typing import Final

from tests.faults.stage import WorkerProcess

_ENGINE: Final = "tokio-rt-worker"


def holdings(pid: int) -> dict[str, int]:
    """Give a process's resident memory in KiB, its open file descriptors and its threads.

    The HTTP engine's threads are apart: it has up to one for each connection that it opens at the moment, and keeps them for
    ten seconds, so their number tells when one looks.
    """
    process = Path(f"/proc/{pid}")
    names = [_name(thread) for thread in (process / "task").iterdir()]
    resident = int((process / "statm").read_text(encoding="ascii").split()[1])
    return {
        "rss_kib": resident * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(list((process / "fd").iterdir())),
        "threads": sum(name != _ENGINE for name in names),
        "engine threads": names.count(_ENGINE),
    }


def _name(thread: Path) -> str:
    try:
        return (thread / "comm").read_text(encoding="utf-8").strip()
    except OSError:  # it has ended since it was listed
        return _ENGINE


def worker_holdings(worker: WorkerProcess) -> dict[str, int]:
    """Give what a sound mutant worker holds: also its metric series, and its tasks when it renewed its lease last."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    tasks = re.findall(r"^tasks (\d+)$", worker.log.read_text(encoding="utf-8"), re.MULTILINE)
    return holdings(worker.process.pid) | {
        "series": sum(bool(line) and not line.startswith("#") for line in lines),
        "tasks": int(tasks[-1]),
    }
