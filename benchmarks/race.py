"""One contestant in one round: fill its queue, start its process, wait for its replies, pace some more, stop it."""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks import letters
from benchmarks.contestants import Contestant, Warren, edited
from benchmarks.figures import Figures, percentile
from benchmarks.letters import Letter
from benchmarks.observed import Watch, spent
from benchmarks.postoffice import PostOffice
from benchmarks.yard import Yard
from stack.bench import PEERS
from stack.errors import StackError
from stack.house import ROOT
from stack.services import Service, spawn

_STOP_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How much is asked of each: jobs that wait for it, then jobs at a steady rate; and for how long it is waited at most."""

    jobs: int
    in_flight: int
    paced_per_s: float
    paced_s: float
    within_s: float


async def run(contestant: Contestant | Warren, yard: Yard, course: Course) -> Figures:
    """Run one contestant and give its figures.

    Raises:
        StackError: it ended, took too long, or replied something else than answers; the text has the end of its log.
    """
    mark = b'"choices"' if contestant.calls else b'"messages"'
    async with PostOffice(yard.route(contestant), mark) as post:
        await post.fill(_letters(contestant, course.jobs))
        calls = _Calls(yard.logs)
        began = time.time()
        service = _start(contestant, yard, course)
        try:
            drained = await _drained(post, service, yard, course)
            called = await asyncio.to_thread(calls.read)
            latencies = await _paced(contestant, post, service, course)
        except (TimeoutError, ChildProcessError) as error:
            raise StackError(
                f"{contestant.name}: {len(post.arrivals.at)} of {course.jobs} replies and those of the paced jobs, "
                f"then {str(error) or 'nothing in time'}; the end of its log:\n{service.tail()}"
            ) from None
        finally:
            await asyncio.to_thread(_stop, service)
    if post.arrivals.wrong:
        raise StackError(f"{contestant.name}: {post.arrivals.wrong} replies were no answers")
    return _figures(drained, called, latencies, began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drained:
    """What was seen until the last of the waiting jobs was replied to."""

    arrived: Sequence[float]
    watch: Watch


class _Calls:
    """The simulator's calls from now on."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._from = {log: log.stat().st_size if log.exists() else 0 for log in logs}

    def read(self) -> list[float]:
        """Give when each call came, in seconds of the wall clock."""
        came = []
        for log, offset in self._from.items():
            if log.exists():
                with log.open(encoding="utf-8") as lines:
                    lines.seek(offset)
                    found = (json.loads(line) for line in lines if line.endswith("\n"))
                    came += [line["at"] for line in found if line["event"] == "start"]
        return came


async def _drained(post: PostOffice, service: Service, yard: Yard, course: Course) -> _Drained:
    """Wait for the replies to all the jobs that were waiting."""
    pids = {"worker": service.pid, "collector": os.getpid(), **yard.pids}
    with Watch(pids) as watch:
        await post.collected(course.jobs, lambda: service.alive, course.within_s)
    return _Drained(arrived=sorted(post.arrivals.at.values()), watch=watch)


async def _paced(
    contestant: Contestant | Warren, post: PostOffice, service: Service, course: Course
) -> list[float]:
    """Give how long each of some jobs at a steady rate took, from its publish to its reply, in ms."""
    count = round(course.paced_per_s * course.paced_s)
    before = len(post.arrivals.at)
    sent = await post.paced(_letters(contestant, count), course.paced_per_s)
    await post.collected(before + count, lambda: service.alive, course.within_s)
    return [1000 * (post.arrivals.at[number] - at) for number, at in sent.items()]


def _figures(
    drained: _Drained, called: Sequence[float], latencies: Sequence[float], began: float
) -> Figures:
    """Make figures of what was seen; without a call the clock runs from the first reply."""
    arrived, samples = drained.arrived, drained.watch.samples
    first, last = min(called, default=arrived[0]), arrived[-1]
    used = {name: spent(found, first, last) for name, found in samples.items()}
    took = max(last - first, 1e-3)
    simulators = [s for name, s in used.items() if name.startswith("simulator")]
    cores = {name: used[name] / took for name in used if not name.startswith("simulator")}
    return Figures(
        jobs_per_s=len(arrived) / took,
        cpu_us_per_job=used["worker"] / len(arrived) * 1e6,
        rss_mb=drained.watch.rss_mb,
        pss_mb=drained.watch.pss_mb,
        start_ms=1000 * (arrived[0] - began),
        latency_p50_ms=percentile(latencies, 0.5),
        latency_p99_ms=percentile(latencies, 0.99),
        calls_per_job=len(called) / len(arrived),
        cores=cores | {"simulator": sum(simulators) / took},
        busiest_simulator=max(simulators) / took,
    )


def _letters(contestant: Contestant | Warren, count: int) -> Iterator[Letter]:
    told: Callable[[str], Letter]
    if isinstance(contestant, Warren):
        told = partial(letters.warren, now=datetime.now(UTC), dedupe=contestant.dedupe)
    else:
        told = contestant.told
    series = uuid4().hex[:8]  # no cache of an earlier round has its answers
    return (told(f"{series}-{number}") for number in range(count))


def _start(contestant: Contestant | Warren, yard: Yard, course: Course) -> Service:
    if isinstance(contestant, Warren):
        text = edited(yard.text, contestant.settings)
        yard.house.config.write_text(text, encoding="utf-8")
        shutil.rmtree(yard.house.folder / "store", ignore_errors=True)
        command = [sys.executable, "-m", "worker.cli.main", "worker"]
        environment = {
            "WARREN_CONFIG": str(yard.house.config),
            "WARREN_HTTP__LISTEN": f"127.0.0.1:{yard.house.worker_ports[0]}",
        }
        return spawn(yard.house.workers[0].folder, command, environment)
    command = [str(ROOT / PEERS / "bin/python"), "-m", contestant.module]
    command += ["--url", yard.admin_url, "--upstream", yard.upstream]
    command += ["--in-flight", str(course.in_flight)]
    folder = yard.house.folder / f"worker-{contestant.name}"
    return spawn(folder, command, {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"})


def _stop(service: Service) -> None:
    """Stop a contestant and whatever it has started: it leads a session of its own."""
    pid = service.pid
    service.stop(timeout_s=_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
