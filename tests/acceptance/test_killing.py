"""The kill loop: who is ended, what the journal has of it, and that another takes its place."""

import random
import signal
from collections.abc import AsyncIterator

import pytest

from stack.records import Journal, json_lines
from tests.faults.killing import Herd
from tests.faults.stage import Stage, chat


@pytest.fixture
async def herd(stage: Stage) -> AsyncIterator[Herd]:
    stage.configure()
    with Journal(stage.folder / "deaths.jsonl") as journal:
        chance = random.Random(1)  # noqa: S311  # repeatable, not secret
        yield Herd(stage, size=2, chance=chance, journal=journal)


async def test_a_killed_worker_is_replaced_and_its_calls_in_flight_are_told(
    stage: Stage, herd: Herd
) -> None:
    await herd.start()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"cut {n}", plan="hang,ok") for n in range(8)])
        await stage.simulator.wait_for(lambda calls: len(calls) == 8)
        ended = await herd.end_one(signal.SIGKILL)
        assert (ended.status, ended.in_flight) == (-9, 4)
        other = await herd.end_one(signal.SIGKILL)
        await stage.hear(jobs)
    await herd.all_ready()
    assert len({each.name for each in stage.processes}) == 4
    deaths = list(json_lines(stage.folder / "deaths.jsonl"))
    assert [each["client"] for each in deaths] == [ended.worker.name, other.worker.name]
    assert {call.client for call in stage.simulator.calls} >= {each["client"] for each in deaths}
    stage.journal.extend(deaths)
    findings = await stage.settled()
    assert findings.kept
    assert len(findings.unrecorded_calls) == findings.in_flight == 8


async def test_a_worker_told_to_end_ends_with_0_and_is_no_death(stage: Stage, herd: Herd) -> None:
    await herd.start()
    assert (await herd.end_one(signal.SIGTERM)).status == 0
    assert list(json_lines(stage.folder / "deaths.jsonl")) == []
    assert await herd.stop() == [0, 0]


async def test_a_worker_that_ended_by_itself_is_found_out(stage: Stage, herd: Herd) -> None:
    await herd.start()
    crashed = stage.processes[0]
    crashed.process.kill()
    await crashed.ended()
    ended = await herd.end_one(signal.SIGTERM)
    assert ended.worker is stage.processes[1]
    assert herd.unasked == [crashed]
