"""What a process holds, as the kernel counts it, and what a worker tells of itself."""

import os
import re
import urllib.request
from pathlib import Path

from tests.faults.stage import WorkerProcess


def holdings(pid: int) -> dict[str, int]:
    """Give a process's resident memory in KiB, its open file descriptors and its threads."""
    process = Path(f"/proc/{pid}")
    resident = int((process / "statm").read_text(encoding="ascii").split()[1])
    return {
        "rss_kib": resident * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
    }


def worker_holdings(worker: WorkerProcess) -> dict[str, int]:
    """Give what a sound mutant worker holds: also its metric series, and its tasks when it renewed its lease last."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    tasks = re.findall(r"^tasks (\d+)$", worker.log.read_text(encoding="utf-8"), re.MULTILINE)
    return holdings(worker.process.pid) | {
        "series": sum(bool(line) and not line.startswith("#") for line in lines),
        "tasks": int(tasks[-1]),
    }
