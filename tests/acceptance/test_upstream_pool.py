"""Limits and storms with real worker processes, as benchmarks/limits.py and benchmarks/storm.py judge them, in half a minute."""

import asyncio
import time

import pytest

from benchmarks.bounds import Report
from benchmarks.limited import Limit
from benchmarks.limited import judge as judge_limit
from benchmarks.storm import Load
from benchmarks.stormy import Weather
from benchmarks.stormy import judge as judge_storm
from simulator import Simulator
from stack.auditor import audit
from stack.callbook import read_calls
from stack.records import Journal, call_lines, json_lines
from tests.faults import canaries
from tests.faults.stage import Stage, chat

LATENCY_S = 0.4


def broken(report: Report) -> list[str]:
    return [str(bound) for bound in report.bounds if not bound.kept]


async def test_two_workers_use_the_limit_of_their_key_and_are_hardly_ever_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, seconds = Limit(per_minute=240), 25.0
    monkeypatch.setenv("WARREN_ENDPOINTS__MAIN__REQUESTS_PER_MINUTE", str(limit.per_minute))
    stage.simulator.limit(requests=limit.per_minute)
    stage.simulator.latency({"default": f"fixed({LATENCY_S})"})
    stage.configure(concurrency=16)
    await stage.started()
    await stage.started()
    async with stage.client() as client:
        await stage.submit(client, [chat(f"job {n}") for n in range(limit.per_minute * 3 // 2)])
        await stage.simulator.wait_for(
            lambda calls: bool(calls) and calls[-1].at > calls[0].at + seconds,
            timeout_s=seconds + 35,
        )
    calls = read_calls(json_lines(stage.folder / "calls.jsonl"))
    assert broken(judge_limit(calls, limit, seconds=seconds)) == []


async def test_a_storm_is_no_storm_of_retries_and_leaves_nothing_behind(stage: Stage) -> None:
    rate, for_s, slots, stormy_s = 30.0, 12.0, 15, 4.0
    south_log = stage.folder / "calls-south.jsonl"
    async with Simulator(log=south_log) as south:
        for simulator in (stage.simulator, south):
            simulator.latency({"default": f"fixed({LATENCY_S})"})
        stage.configure(
            concurrency=slots,
            more=f'[endpoints.south]\nbase_url = "{south.url}/v1"\nkey = "{canaries.KEY}"\n',
        )
        text = stage.config.read_text(encoding="utf-8")
        both = text.replace('endpoints = ["main"]', 'endpoints = ["main", "south"]')
        stage.config.write_text(both, encoding="utf-8")
        await stage.started()
        await stage.started()
        with Journal(stage.folder / "producer.jsonl") as journal:
            async with stage.client() as client:
                coming = asyncio.create_task(Load(client=client, journal=journal).come(rate, for_s))
                await stage.simulator.wait_for(lambda calls: len(calls) >= rate * for_s / 6)
                began = time.time()
                for simulator in (stage.simulator, south):
                    simulator.storm({"503": 1}, for_s=stormy_s)
                await coming
        await stage.settled()
    logs = [stage.folder / "calls.jsonl", south_log]
    jobs = stage.ledger()
    findings = audit(json_lines(stage.folder / "producer.jsonl"), call_lines(logs), jobs)
    weather = Weather(
        began=began, healed=began + stormy_s, rate=rate, capacity=2 * slots / LATENCY_S
    )
    report = judge_storm(read_calls(call_lines(logs)), jobs, findings, weather)
    assert report.figures["jobs"] == rate * for_s
    assert report.figures["calls_in_the_storm"]
    assert broken(report) == []
