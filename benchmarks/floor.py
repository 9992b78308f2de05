"""A crude floor: jobs/s and CPU per job of one worker process, everything switched on.

    .venv/bin/python benchmarks/floor.py --jobs 5000 --in-flight 200
    .venv/bin/python benchmarks/floor.py --json

Broker, simulator (45 ms a call), producer and worker share this machine, so compare figures of one run and one
machine only. Jobs wait in the broker before the worker starts; the clock runs from the first call to the last
reply.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from benchmarks.folder import measured
from producer_sdk import CompletionClient, Request
from stack.house import raise_house, start_workers
from stack.records import json_lines
from stack.upstreams import MAIN, Simulated


def main() -> int:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--latency", default="fixed(0.045)", help="the simulator's, for each call")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    measured("floor", _measure, options)
    return 0


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    tell = (
        (lambda _: None) if options.json else (lambda text: print(text, file=sys.stderr))
    )  # progress
    house = await asyncio.to_thread(
        raise_house,
        folder,
        workers=1,
        tell=tell,
        simulators=(Simulated(options=("--latency", options.latency)),),
        tiers={"standard": options.in_flight},
    )
    (worker,) = house.workers
    worker.stop()
    async with CompletionClient(house.url("producer"), name="bench") as client:
        requests = (
            Request.chat(
                tier="standard",
                model="gpt-5-mini",
                messages=[{"role": "user", "content": f"request {n}: " + "lorem ipsum " * 60}],
            )
            for n in range(options.jobs)
        )
        jobs = [job async for job in client.submit_many(requests, in_flight=200)]
        await asyncio.to_thread(start_workers, house, tell)
        before = _cpu_s(worker.pid)
        await asyncio.gather(*(job.reply(timeout=600) for job in jobs))  # type: ignore[union-attr]  # errors raise
        ended, cpu_s = time.time(), _cpu_s(worker.pid) - before  # the simulator's log has wall time
    began = min(
        line["at"] for line in json_lines(house.calls_logs[MAIN]) if line["event"] == "start"
    )
    return {
        "jobs": options.jobs,
        "in_flight": options.in_flight,
        "jobs_per_s": round(options.jobs / (ended - began), 1),
        "cpu_us_per_job": round(cpu_s / options.jobs * 1e6),
        "rss_mb": round(_rss_mb(worker.pid), 1),
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
