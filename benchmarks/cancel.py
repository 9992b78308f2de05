"""How soon running calls are closed after their jobs are cancelled, and whether their slots are free again.

    .venv/bin/python benchmarks/cancel.py
    .venv/bin/python benchmarks/cancel.py --jobs 200 --json

One worker, whose calls all hang; the producer cancels them all at once. Broker, simulator, producer and worker share
this machine.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.folder import measured
from producer_sdk import CompletionClient, Job, Request
from stack.house import House, raise_house
from stack.records import json_lines
from stack.upstreams import MAIN

_WAIT_S = 60.0


def main() -> int:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    measured("cancel", _measure, options)
    return 0


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    house = await asyncio.to_thread(
        raise_house,
        folder,
        workers=1,
        tell=lambda _: None,
        tiers={"standard": options.jobs},
    )
    async with CompletionClient(house.url("producer"), name="bench") as client:
        jobs = [await client.submit_request(_request(n, "hang")) for n in range(options.jobs)]
        await _until(lambda: _count(house, "start") == options.jobs)
        await asyncio.sleep(2)  # what submitting has left to do is done
        asked: dict[str, float] = {}

        async def cancel(job: Job) -> bool:
            asked[job.id] = time.time()
            return await job.cancel(timeout=_WAIT_S)

        began = time.time()
        cancelled = await asyncio.gather(*(cancel(job) for job in jobs))
        heard_s = time.time() - began
        await _until(lambda: _count(house, "end") == options.jobs)
        again = [await client.submit_request(_request(n, "ok")) for n in range(options.jobs)]
        await asyncio.gather(*(job.reply(timeout=_WAIT_S) for job in again))
    starts = {line["call"]: line["id"].split(".")[0] for line in _lines(house, "start")}
    ends = {starts[line["call"]]: line["at"] for line in _lines(house, "end")}
    took = sorted(ends[job.id] - asked[job.id] for job in jobs)
    return {
        "jobs": options.jobs,
        "cancelled": sum(cancelled),
        "all_closed_after_s": round(max(ends[job.id] for job in jobs) - began, 2),
        "closed_after_s_p50": round(median(took), 2),
        "closed_after_s_p99": round(took[int(len(took) * 0.99) - 1], 2),
        "all_heard_after_s": round(heard_s, 2),
        "answered_in_their_slots": len(again),
    }


def _request(number: int, plan: str) -> Request:
    messages = [{"role": "user", "content": f"{plan} {number} {os.getpid()}"}]
    return Request.chat(tier="standard", model="gpt-5-mini", messages=messages, user=f"sim:{plan}")


def _lines(house: House, event: str) -> list[dict[str, Any]]:
    return [line for line in json_lines(house.calls_logs[MAIN]) if line["event"] == event]


def _count(house: House, event: str) -> int:
    return len(_lines(house, event))


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not true():  # noqa: ASYNC110  # only the simulator's log knows
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
