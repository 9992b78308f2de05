"""Bulk beside interactive: does the ration hold, and what do interactive requests feel of it?

    .venv/bin/python benchmarks/lanes.py                    # 5,000 bulk lines at 300 a minute: about 20 minutes
    .venv/bin/python benchmarks/lanes.py --lines 500 --json

Two workers. First interactive requests alone, a few a second; then the same while the bulk lines are answered,
and one worker is stopped and started again half-way. Added latency is what a request took, as its producer saw it,
beyond the simulator's own time. Broker, simulator, producer and workers share this machine, so only the ratio
means something.
"""

import argparse
import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks.folder import measured
from producer_sdk import CompletionClient, Request
from stack.auditor import most_in_a_minute
from stack.house import House, raise_house, start_workers
from stack.records import json_lines
from stack.upstreams import MAIN, Simulated

BULK, INTERACTIVE = "gpt-5-nano", "gpt-5-mini"
_NUMBERS = itertools.count()  # each request its own: none is answered from the cache
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Latencies:
    """What interactive requests took beyond the upstream's time, in milliseconds."""

    added_ms: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        """The median."""
        return round(median(self.added_ms), 2)

    @property
    def p99(self) -> float:
        """What one request in a hundred exceeds."""
        return round(quantiles(self.added_ms, n=100)[98], 2)


def main() -> int:
    """Run the benchmark and print its figures; 1: a minute had more calls than its ration."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--per-minute", type=int, default=300)
    parser.add_argument("--idle-s", type=float, default=120, help="how long without bulk lines")
    parser.add_argument("--every-s", type=float, default=0.2, help="between interactive requests")
    parser.add_argument("--latency-s", type=float, default=0.2, help="the simulator's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    # The house writes one configuration for all tiers; this one adds the ration.
    os.environ["WARREN_TIERS__STANDARD__BULK_REQUESTS_PER_MINUTE"] = str(options.per_minute)
    figures = measured("lanes", _measure, options)
    return int(figures["most_in_a_minute"] > options.per_minute)


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    def tell(text: str) -> None:
        if not options.json:
            print(text, file=sys.stderr)  # progress

    house = await asyncio.to_thread(
        raise_house,
        folder,
        workers=2,
        tell=tell,
        simulators=(Simulated(options=("--latency", f"fixed({options.latency_s})")),),
        tiers={"standard": 16},
    )
    idle, busy = Latencies(), Latencies()
    async with (
        CompletionClient(house.url("producer"), name="interactive") as people,
        CompletionClient(house.url("producer"), name="bulk") as machine,
    ):
        tell(f"interactive requests alone for {options.idle_s:g} s")
        async with asyncio.timeout(options.idle_s + 60):
            await _ask(people, options, idle, until=time.monotonic() + options.idle_s)
        tell(f"{options.lines} bulk lines at {options.per_minute} a minute beside them")
        done = asyncio.Event()
        began = time.monotonic()
        asking = asyncio.create_task(_ask(people, options, busy, done=done))
        restarting = asyncio.create_task(_restart(house, options, tell))
        await _bulk(machine, options, tell)
        took_s = time.monotonic() - began
        done.set()
        await asyncio.gather(asking, restarting)
    calls = [line for line in json_lines(house.calls_logs[MAIN]) if line["event"] == "start"]
    bulk = [line["at"] for line in calls if line["model"] == BULK]
    return {
        "bulk_lines": options.lines,
        "bulk_calls": len(bulk),
        "per_minute": options.per_minute,
        "most_in_a_minute": most_in_a_minute(bulk),
        "took_s": round(took_s, 1),
        "interactive_idle": len(idle.added_ms),
        "idle_added_ms_p50": idle.p50,
        "idle_added_ms_p99": idle.p99,
        "interactive_busy": len(busy.added_ms),
        "busy_added_ms_p50": busy.p50,
        "busy_added_ms_p99": busy.p99,
        "p99_ratio": round(busy.p99 / idle.p99, 2),
    }


async def _ask(
    client: CompletionClient,
    options: argparse.Namespace,
    latencies: Latencies,
    *,
    until: float = float("inf"),
    done: asyncio.Event | None = None,
) -> None:
    """Ask at an even pace, whatever the answers take, and note how long each took."""

    async def one(number: int) -> None:
        began = time.perf_counter()
        await client.complete(
            tier="standard",
            model=INTERACTIVE,
            messages=[{"role": "user", "content": f"How many primes are there below {number}?"}],
        )
        latencies.added_ms.append((time.perf_counter() - began - options.latency_s) * 1000)

    async with asyncio.TaskGroup() as running:
        while time.monotonic() < until and not (done is not None and done.is_set()):
            running.create_task(one(next(_NUMBERS)))
            await asyncio.sleep(options.every_s)


async def _bulk(client: CompletionClient, options: argparse.Namespace, tell: Tell) -> None:
    lines = (
        Request.chat(
            tier="standard",
            model=BULK,
            messages=[{"role": "user", "content": f"line {number}: " + "lorem ipsum " * 20}],
        )
        for number in range(options.lines)
    )
    jobs = [job async for job in client.submit_many(_in_bulk(line) for line in lines)]
    for number, job in enumerate(jobs, start=1):
        await job.reply(timeout=3600)  # type: ignore[union-attr]  # errors raise
        if number % 500 == 0:
            tell(f"  {number} lines answered")


def _in_bulk(request: Request) -> Request:
    return Request(tier=request.tier, body=request.body, path=request.path, lane="bulk")


async def _restart(house: House, options: argparse.Namespace, tell: Tell) -> None:
    """Stop one worker half-way and start it again."""
    await asyncio.sleep(options.lines / options.per_minute * 60 / 2)
    tell("stopping one worker and starting it again")
    await asyncio.to_thread(house.workers[0].stop)
    await asyncio.to_thread(start_workers, house, tell)


if __name__ == "__main__":
    sys.exit(main())
