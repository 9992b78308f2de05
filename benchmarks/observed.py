"""What a process and its children cost, seen from outside by /proc, and what is made of it."""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_EVERY_S: Final = 0.05
# Memory changes more slowly, and summing up a process's pages takes the kernel longer.
_MEMORY_EVERY: Final = 10
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
    """Give user and system time of a process, its children and those that it has waited for, in seconds."""
    return sum(_cpu_s(each, reaped=True) for each in family(pid))


def _cpu_s(pid: int, *, reaped: bool) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:  # it has ended
        return 0
    return parse_cpu(text, reaped=reaped) / _TICKS


def parse_cpu(stat: str, *, reaped: bool) -> int:
    """Give the clock ticks in a line of /proc/PID/stat, see proc(5): utime, stime and, `reaped`, cutime, cstime."""
    fields = stat.rpartition(")")[2].split()
    return sum(int(each) for each in fields[11 : 15 if reaped else 13])


def memory_mb(pid: int) -> tuple[float, float]:
    """Give what a process and its children have in memory, in MB: RSS, and PSS, which counts shared pages once."""
    rss = pss = 0.0
    for each in family(pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
        except OSError:  # it has ended
            continue
        found = parse_memory(text)
        rss, pss = rss + found["Rss"], pss + found["Pss"]
    return rss, pss


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
    """Samples the CPU of processes, by name, and the memory of the one named `worker`, until it is left."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: dict[str, list[Sample]] = {name: [] for name in self._pids}
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
            self._sample()
            if turn % _MEMORY_EVERY == 0:
                self._weigh()
            turn += 1
        self._sample()
        self._weigh()

    def _sample(self) -> None:
        for name, pid in self._pids.items():
            self.samples[name].append((time.time(), cpu_s(pid)))

    def _weigh(self) -> None:
        rss, pss = memory_mb(self._pids["worker"])
        self.rss_mb, self.pss_mb = max(self.rss_mb, rss), max(self.pss_mb, pss)
