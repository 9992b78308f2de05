"""How fast the SDK publishes: one process that submits jobs to a queue that nobody serves.

    python -m benchmarks.publishing sdk_many --url amqp://producer:…@host:port/warren --jobs 1000

`./dev bench publish` runs each way in turn and makes the table. Every publish is persistent and confirmed.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import uvloop

from benchmarks import letters
from benchmarks.figures import Figures
from benchmarks.observed import memory_mb
from benchmarks.postoffice import PostOffice, Route
from producer_sdk import CompletionClient, Request
from producer_sdk.sync import CompletionClient as SyncClient
from producer_sdk.wire import REPLIES_EXCHANGE, REQUESTS_EXCHANGE, Dedupe, reply_queue, reply_route
from stack.arguments import positive
from stack.errors import StackError

_TIER: Final = "standard"
_LANE: Final = f"{_TIER}.interactive"


def _request(number: int) -> Request:
    return Request(tier=_TIER, body=letters.request(f"{uuid4().hex[:8]}-{number}"))


async def _raw(url: str, jobs: int) -> None:
    route = Route(
        url=url,
        user="producer",
        exchange=REQUESTS_EXCHANGE,
        key=_LANE,
        replies=reply_queue("producer", "raw"),
        binding=(REPLIES_EXCHANGE, reply_route("producer", "raw")),
    )
    now = datetime.now(UTC)
    async with PostOffice(route, b"") as post:
        await post.fill(letters.warren(uuid4().hex, now, Dedupe.OFF, _LANE) for _ in range(jobs))


async def _many(url: str, jobs: int) -> None:
    async with CompletionClient(url, name="many") as client:
        async for job in client.submit_many(map(_request, range(jobs))):
            if isinstance(job, Exception):
                raise job


async def _one(url: str, jobs: int) -> None:
    async with CompletionClient(url, name="one") as client:
        for number in range(jobs):
            await client.submit_request(_request(number))


async def _sync(url: str, jobs: int) -> None:
    def submit() -> None:
        with SyncClient(url, name="sync") as client:
            for number in range(jobs):
                client.submit_request(_request(number))

    await asyncio.to_thread(submit)


WAYS: Final[dict[str, Callable[[str, int], Awaitable[None]]]] = {
    "publish_raw": _raw,
    "sdk_many": _many,
    "sdk_one": _one,
    "sdk_sync": _sync,
}


async def measured(way: str, url: str, jobs: int) -> Figures:
    """Run one way in a process of its own and give its figures, connecting included.

    Raises:
        StackError: it failed; the text has the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.publishing", way, "--url", url]
    process = await asyncio.create_subprocess_exec(
        *(*command, "--jobs", str(jobs)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise StackError(f"{way}: {complained.decode(errors='replace')[-2000:]}")
    found = json.loads(said)
    return Figures(
        jobs_per_s=jobs / found["took_s"],
        cpu_us_per_job=1e6 * found["cpu_s"] / jobs,
        rss_mb=found["rss_mb"],
        pss_mb=0,
        start_ms=0,
        latency_p50_ms=0,
        latency_p99_ms=0,
        calls_per_job=0,
        cores={"worker": found["cpu_s"] / found["took_s"]},
        busiest_simulator=0,
    )


async def _timed(way: str, url: str, jobs: int) -> dict[str, float]:
    began = time.perf_counter(), time.process_time()
    await WAYS[way](url, jobs)
    return {
        "took_s": time.perf_counter() - began[0],
        "cpu_s": time.process_time() - began[1],
        "rss_mb": memory_mb(os.getpid())[0],
    }


def main() -> None:
    """Publish in one way, and print a JSON object of what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--url", required=True, help="amqp://user:password@host:port/vhost")
    parser.add_argument("--jobs", type=positive, required=True)
    options = parser.parse_args()
    found = uvloop.run(_timed(options.way, options.url, options.jobs))
    print(json.dumps(found))  # the result


if __name__ == "__main__":
    main()
