"""Workers that share a Redis instead of a file: the same promises, with real processes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest

from producer_sdk import JobFailed, Reply
from tests.acceptance.cli import warren
from tests.faults.copies import share
from tests.faults.room import RedisRoom
from tests.faults.stage import Stage, chat, open_stage
from tests.faults.vhost import Vhost

# The full size, 1,000 copies over eight workers, needs more cores than most machines have to spare.
WORKERS: Final = int(os.environ.get("REDIS_WORKERS", "3"))
COPIES: Final = int(os.environ.get("REDIS_COPIES", "200"))


@pytest.fixture
async def stage(vhost: Vhost, tmp_path: Path, redis_room: RedisRoom) -> AsyncIterator[Stage]:
    async with open_stage(vhost, tmp_path, room=redis_room) as made:
        yield made


async def test_a_worker_killed_with_calls_in_flight_loses_nothing_to_another(stage: Stage) -> None:
    stage.simulator.latency({"default": "fixed(0.5)"})
    async with stage.client() as client:
        jobs = await stage.submit(client, (chat(f"killed {n}") for n in range(24)))
        doomed, _ = await stage.started(), await stage.started()
        await stage.simulator.wait_for(lambda calls: len(calls) >= 8)
        await doomed.kill()
        replies = await stage.hear(jobs)
    assert all(isinstance(reply, Reply) for reply in replies)
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.unheard
    assert not findings.late_calls
    assert findings.calls <= 24 + 4  # the calls that died with their worker


async def test_copies_of_one_job_over_many_workers_are_one_call_and_all_hear(stage: Stage) -> None:
    stage.configure(concurrency=16)
    shared = await share(stage, workers=WORKERS, copies=COPIES)
    assert (shared.calls, shared.heard, shared.answers) == (1, COPIES, 1)
    assert (await stage.settled()).clean


@pytest.mark.parametrize(
    ("step", "copy", "plan", "calls"),
    [
        ("recorded", "-", "ok", 1),
        ("confirmed", "parked", "503,503", 3),
    ],
)
async def test_a_crash_once_the_outcome_is_recorded_costs_no_call(
    stage: Stage, step: str, copy: str, plan: str, calls: int
) -> None:
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"crash at {step}", plan=plan)])
        crashing = await stage.start(step, copy, "1")
        assert await crashing.ended() == -9
        await stage.started()
        (heard,) = await stage.hear(jobs)
    assert isinstance(heard, Reply)
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.unheard
    assert findings.calls == calls


async def test_a_redis_killed_under_calls_in_flight_costs_none_of_them(
    stage: Stage, restart_redis: Callable[[], object]
) -> None:
    stage.simulator.latency({"default": "fixed(2)"})
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, (chat(f"call {n}") for n in range(8)))
        await stage.simulator.wait_for(lambda calls: len(calls) == 4)
        await asyncio.to_thread(restart_redis)
        replies = await stage.hear(jobs)
    assert all(isinstance(reply, Reply) for reply in replies)
    findings = await stage.settled()
    assert findings.clean, findings
    assert findings.calls == 8


async def test_operators_see_and_steer_the_workers_through_redis(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        (failed,) = await stage.hear(await stage.submit(client, [chat("for good", plan="400!")]))
        assert isinstance(failed, JobFailed)
        assert str(failed.job_id) in await warren(stage, "dead", "list", "--json")
        assert "dead_lettered" in await warren(stage, "explain", str(failed.job_id)[:8])
        assert "paused" in await warren(stage, "lane", "pause", "interactive", "--reason", "noon")
        assert "noon" in await warren(stage, "lane", "status", "--json")
        await warren(stage, "lane", "resume", "interactive")
        (reply,) = await stage.hear(await stage.submit(client, [chat("again")]))
    assert isinstance(reply, Reply)
