"""What one tenant, one message or one suspended process does harms nobody else."""

import asyncio
import json
import signal
from collections.abc import Callable

import aio_pika
import pytest

from producer_sdk import Reply
from producer_sdk.wire import REPLIES_EXCHANGE, REQUESTS_EXCHANGE, reply_queue, reply_route
from tests.faults.stage import Stage, chat

SIZE_BOUND = 16 * 1024 * 1024


async def test_a_tenants_full_callback_queue_does_not_stop_its_tier(stage: Stage) -> None:
    stage.configure(concurrency=4)
    connection = await aio_pika.connect(stage.vhost.url("producer"))
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            reply_queue("producer", "full"),
            durable=True,
            arguments={"x-max-length": 0, "x-overflow": "reject-publish"},
        )
        route = reply_route("producer", "full")
        await queue.bind(REPLIES_EXCHANGE, route)
        requests = await channel.get_exchange(REQUESTS_EXCHANGE, ensure=False)
        for number in range(4):
            request = chat(f"full {number}").submission(
                f"full-{number}", reply_to=route, now=stage.now()
            )
            envelope = request.envelope()
            message = aio_pika.Message(
                request.body,
                headers=dict(envelope.headers),
                correlation_id=envelope.correlation_id,
                reply_to=envelope.reply_to,
                user_id="producer",
            )
            await requests.publish(message, "standard.interactive")
    await stage.started()
    await stage.simulator.wait_for(lambda calls: len(calls) == 4)
    async with stage.client() as client:
        (heard,) = await stage.hear(await stage.submit(client, [chat("innocent")]))
    assert isinstance(heard, Reply)


@pytest.fixture
def small_messages(stage: Stage) -> Callable[[int], None]:
    """Sets the largest message that the running broker takes."""

    def bound(size: int) -> None:
        stage.vhost.broker.ctl("eval", f"application:set_env(rabbit, max_message_size, {size}).")
        stage.vhost.broker.ctl("eval", f"catch persistent_term:put(max_message_size, {size}).")

    return bound


async def test_a_reply_too_large_for_the_broker_does_not_stop_its_tier(
    stage: Stage, small_messages: Callable[[int], None]
) -> None:
    stage.configure(concurrency=4)
    await asyncio.to_thread(small_messages, 4000)
    try:
        await stage.started()
        async with stage.client() as client:
            await stage.submit(client, [chat(f"big {n}", plan="big(5000)") for n in range(4)])
            await stage.simulator.wait_for(lambda calls: len(calls) == 4)
            (heard,) = await stage.hear(await stage.submit(client, [chat("innocent")]))
    finally:
        await asyncio.to_thread(small_messages, SIZE_BOUND)
    assert isinstance(heard, Reply)


async def test_a_process_that_slept_past_its_lease_starts_no_call_for_a_job_that_has_ended(
    stage: Stage,
) -> None:
    stage.configure(concurrency=4)
    text = stage.config.read_text(encoding="utf-8").replace('timeout = "30s"', 'timeout = "5m"')
    text = text.replace("[endpoints.main]\n", '[endpoints.main]\nread_timeout = "4s"\n')
    stage.config.write_text(text, encoding="utf-8")
    sleeper = await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("asleep", plan="hang,ok,ok")])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        sleeper.process.send_signal(signal.SIGSTOP)
        await stage.started()
        await asyncio.to_thread(stage.vhost.close_connections, "worker")
        (heard,) = await stage.hear(jobs)
        assert isinstance(heard, Reply)
        sleeper.process.send_signal(signal.SIGCONT)
        # Its first try breaks now; a second one would follow within the pause between tries.
        await stage.simulator.wait_for(lambda calls: calls[0].over, timeout_s=20)
        await asyncio.sleep(3)
    findings = await stage.settled()
    assert findings.late_calls == ()
    assert findings.calls == 2


async def test_what_cannot_be_read_is_set_aside_and_its_neighbours_are_answered(
    stage: Stage,
) -> None:
    await stage.started()
    connection = await aio_pika.connect(stage.vhost.url("producer"))
    async with connection:
        channel = await connection.channel()
        requests = await channel.get_exchange(REQUESTS_EXCHANGE, ensure=False)
        for _ in range(20):
            message = aio_pika.Message(b"{}", headers={"x-warren-version": 99})
            await requests.publish(message, "standard.interactive")
    async with stage.client() as client:
        requests_ = [chat(f"fine {number}") for number in range(20)]
        replies = await stage.hear(await stage.submit(client, requests_))
    assert all(isinstance(reply, Reply) for reply in replies)
    listed = stage.vhost.broker.ctl(
        "list_queues", "-p", stage.vhost.name, "name", "messages", "--formatter", "json"
    )
    counts = {row["name"]: row["messages"] for row in json.loads(listed)}
    assert counts["warren.quarantine"] == 20


async def test_no_secret_and_no_prompt_is_in_a_log(stage: Stage) -> None:
    worker = await stage.started()
    async with stage.client() as client:
        plans = ["503,503", "400!", "garbage,ok", "429(retry-after=1),ok", "reset,ok"]
        jobs = await stage.submit(client, [chat("canary-prompt", plan=plan) for plan in plans])
        await stage.hear(jobs)
    worker.process.terminate()
    assert await worker.ended() == 0
    log = worker.log.read_text(encoding="utf-8")
    password = stage.vhost.passwords["worker"]
    assert all(job.id in log for job in jobs)
    assert not [secret for secret in ("canary", password, "Bearer") if secret in log]
