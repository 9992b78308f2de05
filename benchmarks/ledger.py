"""What one operation of a ledger costs, and how many jobs a second it carries.

    .venv/bin/python -m benchmarks.ledger                       # both stores, 20,000 jobs, 200 in flight
    .venv/bin/python -m benchmarks.ledger --store redis --jobs 5000 --json
    .venv/bin/python -m benchmarks.ledger --contenders 8        # that many processes begin one job 1,000 times

A job is find, begin, end with a 2 KB response, and carried. Each operation is first measured by itself: its time is
the median of what each took, its processor time the median over rounds of `--in-flight` operations, in this process
alone. The server and the embedded store's file share this machine, so only figures side by side mean something.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TypeAlias

import uvloop

from producer_sdk.wire import Dedupe, Lane, Status, job_id
from stack import redis as redises
from worker.clock import SystemClock
from worker.core.events import Event
from worker.core.model import Completed, Ended, Job, Reply, Started, Submission, Work
from worker.ports import Ledger, Store
from worker.store.embedded import EmbeddedStore
from worker.store.redis.options import RedisOptions
from worker.store.redis.store import RedisStore

ROOT = Path(__file__).parent.parent
ANSWER = Completed(body=b"x" * 2048, endpoint="alpha", model="m")
DONE, WORK = Reply(status=Status.COMPLETED), Work(calls=1, upstream=timedelta(seconds=1))
TRIES = 1000
Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]


class Nobody:
    """Hears nothing."""

    def tell(self, event: Event) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation, in microseconds: the median time it took, and this process's processor time."""

    wall_us: float
    cpu_us: float


def job(number: int) -> Job:
    """Give a job of its own."""
    now = SystemClock().now()
    key = f"k{number}"
    return Job(
        id=job_id("acme", key),
        tenant="acme",
        key=key,
        tier="small",
        lane=Lane.INTERACTIVE,
        path="/v1/chat/completions",
        model="m",
        body=b"",
        content_hash=f"{number:064x}",
        dedupe=Dedupe.INFLIGHT,
        priority=4,
        submission=Submission(id=f"s{number}", reply_to="acme.client"),
        submitted_at=now,
        received_at=now,
        deadline=now + timedelta(hours=1),
    )


async def end(ledger: Ledger, one: Job) -> Ended:
    """End a job that is begun."""
    told = await ledger.end(one, ANSWER, DONE, work=WORK, claimed=True)
    assert isinstance(told, Ended)  # noqa: S101  # a benchmark that measures something else is none
    return told


async def carry(ledger: Ledger, one: Job) -> None:
    """Note that its submission has heard."""
    await ledger.carried(one, [one.submission], letter=False)


async def whole(ledger: Ledger, one: Job) -> None:
    """Take a job through all of it."""
    await ledger.find(one)
    await ledger.begin(one, max_attempts=3)
    await end(ledger, one)
    await carry(ledger, one)


OPERATIONS: dict[str, Callable[[Ledger, Job], Awaitable[object]]] = {
    "find": lambda ledger, one: ledger.find(one),
    "begin": lambda ledger, one: ledger.begin(one, max_attempts=3),
    "end": end,
    "carried": carry,
}


async def cost(act: Callable[[Job], Awaitable[object]], jobs: list[Job], in_flight: int) -> Cost:
    """Measure one operation over the jobs."""
    took: list[float] = []
    rounds: list[float] = []

    async def one(each: Job) -> None:
        began = time.perf_counter()
        await act(each)
        took.append(time.perf_counter() - began)

    for start in range(0, len(jobs), in_flight):
        part = jobs[start : start + in_flight]
        began = time.process_time()
        await asyncio.gather(*map(one, part))
        rounds.append((time.process_time() - began) / len(part))
    return Cost(round(median(took) * 1e6, 1), round(median(rounds) * 1e6, 1))


async def measure(opened: Opened, count: int, in_flight: int) -> dict[str, object]:
    """Measure a store: each operation by itself, then whole jobs, always `in_flight` of them."""
    async with opened() as store:
        ledger = store.ledger
        jobs = [job(number) for number in range(count // 4)]
        costs = {
            name: await cost(lambda each, act=act: act(ledger, each), jobs, in_flight)  # type: ignore[misc]  # bound now
            for name, act in OPERATIONS.items()
        }
        waiting: Iterator[Job] = iter([job(number) for number in range(count, 2 * count)])

        async def lane() -> None:
            for each in waiting:
                await whole(ledger, each)

        began, cpu, loop = time.perf_counter(), time.process_time(), time.thread_time()
        await asyncio.gather(*(lane() for _ in range(in_flight)))
        took, spent = time.perf_counter() - began, time.process_time() - cpu
        of_loop = time.thread_time() - loop
    return {
        **{f"{name} wall us": each.wall_us for name, each in costs.items()},
        **{f"{name} cpu us": each.cpu_us for name, each in costs.items()},
        "jobs/s": round(count / took),
        "cpu us a job": round(spent / count * 1e6, 1),
        "of it in the loop's thread": round(of_loop / count * 1e6, 1),
    }


def contend(options: RedisOptions, number: int) -> int:
    """Begin one job again and again from a process of its own; tell how often that started it."""

    async def begin() -> int:
        async with RedisStore(options, clock=SystemClock(), listener=Nobody()) as store:
            one = replace(job(-1), submission=Submission(id=f"p{number}", reply_to=None))
            told = [store.ledger.begin(one, max_attempts=3) for _ in range(TRIES)]
            started = sum(isinstance(each, Started) for each in await asyncio.gather(*told))
            await asyncio.sleep(1)  # keeps the claim until all have tried
            return started

    return uvloop.run(begin())


@contextmanager
def redis_options(folder: Path) -> Iterator[RedisOptions]:
    """Start a private Redis for the while."""
    server = redises.find_redis(ROOT / ".warren/servers")
    settings = {"appendfsync": "everysec", "maxmemory": "2gb"}
    redis = redises.start(server, folder, settings=settings, die_with_parent=True)
    try:
        yield RedisOptions(url=redis.address, password=redis.password)
    finally:
        redis.kill()


def main() -> int:
    """Run the benchmark and print its figures; 1: a job was started more than once."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--store", choices=("embedded", "redis", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--contenders", type=int, default=0, help="processes that want one job")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    clock, nobody = SystemClock(), Nobody()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name, redis_options(Path(name) / "redis") as options:
        stores: dict[str, Opened] = {
            "embedded": lambda: EmbeddedStore(
                Path(name) / "store/warren.db", clock=clock, listener=nobody
            ),
            "redis": lambda: RedisStore(options, clock=clock, listener=nobody),
        }
        if asked.contenders:
            with multiprocessing.get_context("spawn").Pool(asked.contenders) as pool:
                each = pool.starmap(contend, [(options, n) for n in range(asked.contenders)])
            figures["begins"], figures["started"] = asked.contenders * TRIES, sum(each)
        else:
            for store in stores if asked.store == "both" else (asked.store,):
                figures[store] = uvloop.run(measure(stores[store], asked.jobs, asked.in_flight))
    print(json.dumps(figures) if asked.json else json.dumps(figures, indent=2))
    return 0 if figures.get("started", 1) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
