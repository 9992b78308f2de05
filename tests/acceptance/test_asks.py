"""Results whose reply route is gone, and cancelling, with real processes."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from producer_sdk import (
    CompletionClient,
    Job,
    JobCancelled,
    JobNotEnded,
    JobUnknown,
    Reply,
)
from tests.acceptance.cli import warren
from tests.faults.stage import Stage, chat

RUNNING = 1000


async def cancelled(job: Job) -> bool:
    """Tell whether the job's waiter hears that it was cancelled."""
    try:
        await job.reply(timeout=30)
    except JobCancelled:
        return True
    return False


async def test_a_result_is_told_to_its_tenant_also_when_the_reply_went_elsewhere(
    stage: Stage,
) -> None:
    await stage.started()
    async with stage.client("gone") as client:
        job = await client.submit_request(chat("kept"), reply=False)
        await stage.simulator.wait_for(lambda calls: len(calls) == 1 and calls[0].over)
    async with stage.client("other") as client:
        async with asyncio.timeout(20):
            while True:
                try:
                    reply = await client.result(job.id)
                    break
                except JobNotEnded:
                    await asyncio.sleep(0.05)
        assert reply.text
        with pytest.raises(JobUnknown):
            await client.result("0" * 32)
    shown = json.loads(await warren(stage, "result", job.id, "--json"))
    assert shown["body"] == reply.json()
    await warren(stage, "result", "0" * 32, status=1)
    assert len(stage.simulator.calls) == 1


async def test_a_running_job_is_not_ended_and_says_so(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        (job,) = await stage.submit(client, [chat("slow", plan="slow(5)")])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        with pytest.raises(JobNotEnded):
            await client.result(job.id)


async def test_a_waiting_job_is_never_called_and_whoever_waits_hears(stage: Stage) -> None:
    stage.configure(concurrency=1)
    await stage.started()
    async with stage.client() as client:
        (busy, waiting) = await stage.submit(
            client, [chat("busy", plan="slow(4)"), chat("waits", idempotency_key="w")]
        )
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        assert await waiting.cancel()
        await stage.simulator.wait_for(lambda calls: calls[0].over, timeout_s=20)
        assert await cancelled(waiting)
        assert isinstance((await stage.hear([busy]))[0], Reply)
    assert len(stage.simulator.calls) == 1


async def test_a_parked_job_is_cancelled_and_its_copy_changes_nothing(stage: Stage) -> None:
    stage.configure(more='[retry]\ntries = 1\nattempt_backoffs = ["3s"]\n')
    await stage.started()
    async with stage.client() as client:
        (job,) = await stage.submit(client, [chat("parked", plan="503,ok")])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1 and calls[0].over)
        await asyncio.sleep(0.5)
        assert await job.cancel()
        assert await cancelled(job)
    await stage.settled()
    assert len(stage.simulator.calls) == 1


async def test_a_job_that_no_worker_knows_is_cancelled_by_its_key_alone(stage: Stage) -> None:
    stage.configure()
    async with stage.client() as client:
        job = await client.submit_request(chat("early", idempotency_key="e"))
        wish = asyncio.create_task(job.cancel())
        await asyncio.sleep(0.5)
        await warren(stage, "lane", "pause", "interactive")
        await stage.started()
        assert await wish
        with pytest.raises(JobUnknown):
            await client.cancel("f" * 32)
        await warren(stage, "lane", "resume", "interactive")
        assert await cancelled(job)
    assert stage.simulator.calls == []


async def test_a_thousand_running_calls_are_closed_and_their_slots_are_free(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    stage.configure(concurrency=RUNNING)
    worker = await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"run {n}", plan="hang") for n in range(RUNNING)])
        await stage.simulator.wait_for(lambda calls: len(calls) == RUNNING, timeout_s=60)
        began = time.time()
        assert all(await asyncio.gather(*(job.cancel() for job in jobs)))
        await stage.simulator.wait_for(lambda calls: all(call.over for call in calls), timeout_s=30)
        took = time.time() - began
        assert all(await asyncio.gather(*(cancelled(job) for job in jobs)))
        after = [chat(f"after {n}") for n in range(50)]
        heard = await stage.hear(await stage.submit(client, after))
    record_property("closed_after_s", round(took, 2))
    assert all(isinstance(each, Reply) for each in heard)
    assert worker.process.returncode is None
    assert (await stage.settled()).calls == RUNNING + 50


async def test_a_call_that_others_wait_for_is_not_closed(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        (leader,) = await stage.submit(client, [chat("same", plan="slow(3)", dedupe="inflight")])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        (follower,) = await stage.submit(client, [chat("same", plan="slow(3)", dedupe="inflight")])
        await asyncio.sleep(1)
        assert not await leader.cancel()
        assert all(isinstance(each, Reply) for each in await stage.hear([leader, follower]))
    assert len(stage.simulator.calls) <= 2


async def test_one_tenant_hears_nothing_of_anothers_jobs_and_cancels_none(stage: Stage) -> None:
    stage.vhost.add_tenant("other")
    await stage.started()
    async with stage.client() as client, CompletionClient(stage.vhost.url("other")) as stranger:
        (job,) = await stage.submit(client, [chat("mine", idempotency_key="shared")])
        await stage.hear([job])
        with pytest.raises(JobUnknown):
            await stranger.result(job.id)
        with pytest.raises(JobUnknown):
            await stranger.cancel(job.id)
        # The same key is another job of the stranger's own.
        assert await stranger.job("x", idempotency_key="shared").cancel()
        assert isinstance(await client.result(job.id), Reply)
