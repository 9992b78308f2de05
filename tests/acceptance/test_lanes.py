"""Lanes with real processes: bulk beside interactive, rationed, paused, and closed by the clock."""

import asyncio
import json
from datetime import timedelta

import pytest

from producer_sdk import DeadlineExceeded, Reply
from tests.acceptance.cli import warren
from tests.acceptance.stage import Stage, chat
from tests.acceptance.timing import most_in_a_minute

PER_MINUTE = 20


async def test_interactive_jobs_do_not_wait_behind_bulk_ones(stage: Stage) -> None:
    stage.configure(each="bulk_concurrency = 2\n")
    await stage.started()
    async with stage.client() as client:
        bulk = [chat(f"bulk {n}", plan="slow(20)", lane="bulk") for n in range(20)]
        await stage.submit(client, bulk)
        await stage.simulator.wait_for(lambda calls: len(calls) == 2)
        (heard,) = await stage.hear(await stage.submit(client, [chat("now")]), within_s=10)
    assert isinstance(heard, Reply)
    assert len(stage.simulator.calls) == 3


async def test_no_minute_has_more_calls_than_rationed_over_two_workers_and_a_restart(
    stage: Stage,
) -> None:
    stage.configure(each=f"bulk_requests_per_minute = {PER_MINUTE}\n")
    first = await stage.started()
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"bulk {n}", lane="bulk") for n in range(30)])
        await stage.simulator.wait_for(lambda calls: len(calls) >= 8, timeout_s=60)
        await first.kill()
        await stage.started()
        await stage.hear(jobs, within_s=110)
    assert most_in_a_minute(stage.simulator.calls) == PER_MINUTE
    assert (await stage.settled()).clean


async def test_a_cached_answer_is_served_while_the_ration_is_spent(stage: Stage) -> None:
    stage.configure(each="bulk_requests_per_minute = 1\n")
    await stage.started()
    async with stage.client() as client:
        one = [chat("known", lane="bulk", dedupe="cache")]
        await stage.hear(await stage.submit(client, one))
        waiting = await stage.submit(client, [chat(f"new {n}", lane="bulk") for n in range(3)])
        (heard,) = await stage.hear(await stage.submit(client, one), within_s=40)
    assert isinstance(heard, Reply)
    assert heard.cached
    assert len(stage.simulator.calls) == 1
    assert not any(job.done for job in waiting)


async def test_a_paused_lane_starts_no_call_on_any_worker_until_it_is_resumed(stage: Stage) -> None:
    await stage.started()
    await stage.started()
    said = await warren(stage, "lane", "pause", "interactive", "--reason", "until noon")
    assert "paused" in said
    await asyncio.sleep(2)
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"waits {n}") for n in range(10)])
        (bulk,) = await stage.hear(await stage.submit(client, [chat("other lane", lane="bulk")]))
        assert isinstance(bulk, Reply)
        # A worker that starts later finds it paused too.
        late = await stage.started()
        await asyncio.sleep(1)
        assert len(stage.simulator.calls) == 1
        shown = json.loads(await warren(stage, "lane", "status", "--json"))
        (row,) = (row for row in shown if row["lane"] == "interactive")
        assert (row["state"], row["reason"]) == ("paused", "until noon")
        await warren(stage, "lane", "resume", "interactive")
        assert all(isinstance(heard, Reply) for heard in await stage.hear(jobs, within_s=20))
    assert late.process.returncode is None
    assert (await stage.settled()).clean


async def test_an_operator_sets_a_lanes_measure_while_it_runs(stage: Stage) -> None:
    stage.configure(each="bulk_concurrency = 1\n")
    await stage.started()
    async with stage.client() as client:
        await stage.submit(
            client, [chat(f"bulk {n}", plan="slow(30)", lane="bulk") for n in range(9)]
        )
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        await warren(stage, "lane", "set", "bulk", "--concurrency", "5")
        await stage.simulator.wait_for(lambda calls: len(calls) == 5)
        await asyncio.sleep(0.5)
        assert len(stage.simulator.calls) == 5
    await warren(stage, "lane", "set", "bulk", "--concurrency", "many", status=2)
    await warren(stage, "lane", "set", "bulk", "--tier", "none", "--concurrency", "5", status=2)
    said = await warren(stage, "lane", "set", "bulk", "--concurrency", "default")
    assert "5" not in said.splitlines()[1]


async def test_a_deadline_that_passes_in_a_closed_lane_is_told_in_time(stage: Stage) -> None:
    await stage.started()
    await warren(stage, "lane", "pause", "bulk")
    await asyncio.sleep(1)
    async with stage.client() as client, asyncio.timeout(10):
        with pytest.raises(DeadlineExceeded):
            await client.complete(
                tier="standard",
                lane="bulk",
                deadline=timedelta(seconds=2),
                model="gpt-5-mini",
                messages=[],
            )
    assert stage.simulator.calls == []
