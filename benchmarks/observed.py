"""What a process and its children cost, seen from outside by /proc, and what is made of it."""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_EVERY_S: Final = 0.1
# Memory changes more slowly, and summing up a process's pages takes the kernel longer.
_SELDOM: Final = 10
# So many samples long a worker may still be starting its children: what they have used must be known from the first on.
_YOUNG: Final = 50
_TICKS: Final = os.sysconf("SC_CLK_TCK")

Sample = tuple[float, float]


def family(pid: int) -> Iterator[int]:
    """Give a process and its descendants, as far as they live."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in children:
            yield from family(int(child))


def cpu_s(pid: int) -> float:
    """Give user and system time of a process and of those children that it has waited for, in seconds; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0
    return parse_cpu(text) / _TICKS


def parse_cpu(stat: str) -> int:
    """Give the clock ticks in a line of /proc/PID/stat, see proc(5): utime, stime, cutime and cstime."""
    fields = stat.rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15])


def busy_s() -> float:
    """Give for how long this machine's processors were busy, with whatever, in seconds since it started."""
    return parse_busy(Path("/proc/stat").read_text(encoding="ascii")) / _TICKS


def parse_busy(stat: str) -> int:
    """Give the clock ticks of /proc/stat that were neither idle nor waiting for a disk, also those that another machine took."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.split()[1:9])
    return user + nice + system + irq + softirq + steal


def memory_mb(pid: int) -> tuple[float, float]:
    """Give what a process has in memory, in MB: RSS, and PSS, which counts shared pages once; 0 if it has ended."""
    try:
        found = parse_memory(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))
    except OSError:
        return 0, 0
    return found["Rss"], found["Pss"]


def parse_memory(rollup: str) -> dict[str, float]:
    """Give the sums of a /proc/PID/smaps_rollup in MB, by name."""
    rows = (line.split() for line in rollup.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 / 1e6 for row in rows if row[-1] == "kB"}


def spent(samples: Sequence[Sample], begin: float, end: float) -> float:
    """Give how much a counter, sampled as (time, value), grew from `begin` to `end`; in between it is a line."""
    return _at(samples, end) - _at(samples, begin)


def _at(samples: Sequence[Sample], when: float) -> float:
    after = bisect_left(samples, (when, float("-inf")))
    if after == 0:
        return samples[0][1]
    if after == len(samples):
        return samples[-1][1]
    (t0, v0), (t1, v1) = samples[after - 1], samples[after]
    return v0 + (v1 - v0) * (when - t0) / (t1 - t0)


class Watch:
    """Samples the CPU of processes, by name, until it is left; of those named `worker…` with their children, and their memory.

    It is to cost little itself: children are looked for and memory is summed up only once in a while.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {name: [pid] for name, pid in pids.items()}
        self._roots = {name: pid for name, pid in pids.items() if name.startswith("worker")}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self.busy: list[Sample] = []
        self.rss_mb = self.pss_mb = 0.0

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._ended.wait(_EVERY_S):
            turn += 1
            if turn < _YOUNG or turn % _SELDOM == 0:
                self._look()
            if turn % _SELDOM == 0:
                self._weigh()
            self._sample()
        self._look()
        self._weigh()
        self._sample()

    def _sample(self) -> None:
        now = time.time()
        for name, pids in self._pids.items():
            self.samples[name].append((now, sum(map(cpu_s, pids))))
        self.busy.append((now, busy_s()))

    def _look(self) -> None:
        self._pids |= {name: list(family(pid)) for name, pid in self._roots.items()}

    def _weigh(self) -> None:
        weighed = [memory_mb(pid) for name in self._roots for pid in self._pids[name]]
        self.rss_mb = max(self.rss_mb, sum(rss for rss, _ in weighed))
        self.pss_mb = max(self.pss_mb, sum(pss for _, pss in weighed))
