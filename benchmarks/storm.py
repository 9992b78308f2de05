"""A storm: every endpoint answers 503 for a minute and heals, while jobs keep coming.

    .venv/bin/python benchmarks/storm.py                        # 20 jobs a second for 3 minutes
    .venv/bin/python benchmarks/storm.py --seconds 30 --storm-s 10 --json storm.json

Two workers, two endpoints, jobs at an even pace for a third of the time, through the storm, and on. Retries may be no
more than 20 % of all calls, nothing may be dead-lettered or lost, and after healing there are no more calls a second than
all slots together make of healthy calls, three times the normal rate: what comes back is work, not a second storm. The
status is 1 if a bound was broken. Calls over time go to a file as SVG.
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from benchmarks.bounds import Report, conclude
from benchmarks.folder import in_folder
from benchmarks.plot import sparkline, svg
from benchmarks.stormy import Weather, drained_s, judge, seconds
from producer_sdk import CompletionClient, Job, JobError, Reply
from stack import stores
from stack.auditor import audit
from stack.callbook import read_calls
from stack.house import House, raise_house
from stack.records import Journal, call_lines, json_lines, ledger_of
from stack.scene import digest
from stack.upstreams import Simulated, control

TIER: Final = "standard"
_RESULTS: Final = Path(__file__).parent / "results"
_WORKERS, _LATENCY_S = 2, 0.4
# All slots together make three times the calls that come: enough to drain what a storm leaves, not more.
_CAPACITY: Final = 3.0
# The longest that a job may wait in the end: the longest pause between two attempts, twice.
_PATIENCE_S: Final = 660


@dataclass(slots=True, kw_only=True)
class Load:
    """Jobs that come at an even pace, and how many of them were unanswered when."""

    client: CompletionClient
    journal: Journal
    unanswered: int = 0
    waiting: list[tuple[float, int]] = field(default_factory=list)

    async def come(self, rate: float, for_s: float) -> None:
        """Submit so many jobs a second for so long, and hear them all. Raises TimeoutError for one that stays unheard."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as running:
            for number in range(round(rate * for_s)):
                running.create_task(self._one(number))
                await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))

    async def _one(self, number: int) -> None:
        self._count(1)
        job = await self.client.submit(
            tier=TIER,
            model="gpt-5-mini",
            messages=[{"role": "user", "content": f"{number}: how is the weather?"}],
        )
        self.journal.note(
            event="confirmed", submission=job.submission_id, job=job.id, wants_reply=True
        )
        heard = await _heard(job)
        self._count(-1)
        self.journal.note(
            event="reply",
            submission=job.submission_id,
            job=job.id,
            run=heard.run,
            sha256=digest(heard),
        )

    def _count(self, change: int) -> None:
        self.unanswered += change
        self.waiting.append((time.time(), self.unanswered))


def main() -> int:
    """Run the benchmark and print its figures; 1: a bound was broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="how long jobs come")
    parser.add_argument("--storm-s", type=float, default=60.0, help="how long all calls fail")
    parser.add_argument("--rate", type=float, default=20.0, help="jobs a second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and bounds here")
    parser.add_argument("--svg", type=Path, default=_RESULTS / "storm.svg", metavar="FILE")
    stores.option(parser)
    options = parser.parse_args()
    return conclude(in_folder("storm", _measure, options), options.json)


async def _measure(folder: Path, options: argparse.Namespace) -> Report:
    slots = max(1, round(options.rate * _CAPACITY * _LATENCY_S / _WORKERS))
    endpoint = ("--latency", f"fixed({_LATENCY_S})")
    house = await asyncio.to_thread(
        raise_house,
        folder,
        workers=_WORKERS,
        tell=lambda text: print(text, file=sys.stderr),
        simulators=[Simulated(name=name, options=endpoint) for name in ("north", "south")],
        tiers={TIER: slots},
        store=options.store,
    )
    with Journal(folder / "producer.jsonl") as journal:
        async with CompletionClient(house.url("producer"), name="bench") as client:
            load = Load(client=client, journal=journal)
            coming = asyncio.create_task(load.come(options.rate, options.seconds))
            await asyncio.sleep((options.seconds - options.storm_s) / 2)
            began = await _storm(house, options.storm_s)
            await coming
    weather = Weather(
        began=began,
        healed=began + options.storm_s,
        rate=options.rate,
        capacity=slots * _WORKERS / _LATENCY_S,
    )
    return _told(house, load, weather, options.svg)


async def _storm(house: House, for_s: float) -> float:
    """Let every call of every endpoint fail for so long; give when that began, in wall seconds."""
    print(f"a storm of {for_s:g} s", file=sys.stderr)
    began = time.time()
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in house.upstreams.values():
            told = await client.put(control(url, "storm"), json={"503": 1, "for_s": for_s})
            told.raise_for_status()
    return began


async def _heard(job: Job) -> Reply | JobError:
    try:
        return await job.reply(timeout=_PATIENCE_S)
    except JobError as error:
        return error


def _told(house: House, load: Load, weather: Weather, file: Path) -> Report:
    """Hold the logs against each other, and draw the calls."""
    calls = read_calls(call_lines(house.calls_logs.values()))
    jobs = ledger_of(house.config)
    producer = json_lines(house.folder / "producer.jsonl")
    findings = audit(producer, call_lines(house.calls_logs.values()), jobs)
    report = judge(calls, jobs, findings, weather)
    # As many as were unanswered before the storm, and one second's jobs.
    before = [count for at, count in load.waiting if at < weather.began]
    drained = drained_s(load.waiting, weather.healed, max(before) + round(weather.rate))
    figures = {
        **report.figures,
        "most_unanswered": max(count for _, count in load.waiting),
        "drained_after_healing_s": None if drained is None else round(drained, 1),
    }
    run = seconds(calls)
    first = min(call.began for call in calls)
    storm = (weather.began - first, weather.healed - first)
    print("calls a second ", sparkline([each.calls for each in run]))
    print("failed a second", sparkline([each.failed for each in run]))
    file.parent.mkdir(exist_ok=True)
    title = f"{weather.rate:g} jobs a second, all endpoints 503 for {weather.healed - weather.began:g} s"
    file.write_text(svg(run, storm, title), encoding="utf-8")
    return Report(figures=figures, bounds=report.bounds)


if __name__ == "__main__":
    sys.exit(main())
