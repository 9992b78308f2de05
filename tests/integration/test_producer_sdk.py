import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from producer_sdk import (
    AccessRefused,
    BrokerUnavailable,
    ClientClosed,
    CompletionClient,
    DeadlineExceeded,
    InvalidSetting,
    Job,
    JobError,
    JobExpired,
    JobFailed,
    PublishFailed,
    QueueFull,
    Reply,
    Request,
    TierUnknown,
    TopologyMissing,
)
from producer_sdk.connection import LOST
from producer_sdk.replies import ReplyConsumer
from producer_sdk.wire import (
    REPLIES_EXCHANGE,
    CompletionReply,
    CompletionRequest,
    Envelope,
    ReplyError,
    Source,
    Status,
    error_body,
    job_id,
    reply_queue,
)
from stack.broker import Broker

pytestmark = pytest.mark.broker

QUEUE = "warren.jobs.standard.interactive"
REQUEST = Request.chat(tier="standard", model="m", messages=[{"role": "user", "content": "hi"}])

Answer = Callable[[CompletionRequest], CompletionReply | None]
StartWorker = Callable[[Answer], Awaitable["StandInWorker"]]


def _vhost(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _on_vhost(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def done(request: CompletionRequest, body: bytes = b'{"ok":true}') -> CompletionReply:
    return CompletionReply(
        submission_id=request.submission_id,
        job_id=job_id("producer", request.idempotency_key or request.submission_id),
        status=Status.COMPLETED,
        body=body,
        source=Source.UPSTREAM,
        endpoint="e1",
        attempts=1,
        waited_ms=5,
    )


def ended(request: CompletionRequest, status: Status, kind: str) -> CompletionReply:
    body = error_body(ReplyError(kind=kind, message="it did not work"))
    return done(request).model_copy(update={"status": status, "body": body})


class StandInWorker:
    """Consumes one tier's queue and answers with what `answer` gives; None leaves a request unanswered."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[AbstractIncomingMessage] = []
        self.requests: list[CompletionRequest] = []

    async def start(self, url: str) -> aio_pika.abc.AbstractRobustConnection:
        connection = await aio_pika.connect_robust(url, reconnect_interval=0.2)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        self.replies = await channel.get_exchange(REPLIES_EXCHANGE, ensure=False)
        queue = await channel.get_queue(QUEUE)
        await queue.consume(self._on_message)
        return connection

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        request = CompletionRequest.parse(envelope_of(message), message.body)
        self.seen.append(message)
        self.requests.append(request)
        reply = self.answer(request)
        try:
            if reply is not None and request.reply_to is not None:
                await self.send(reply, request.reply_to)
            await message.ack()
        except LOST:
            pass  # it is delivered again

    async def send(self, reply: CompletionReply, route: str) -> None:
        envelope = reply.envelope()
        message = aio_pika.Message(
            reply.body,
            headers=dict(envelope.headers),
            correlation_id=envelope.correlation_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            type=envelope.kind,
            message_id=str(time.monotonic_ns()),
        )
        await self.replies.publish(message, route)


def envelope_of(message: AbstractIncomingMessage) -> Envelope:
    return Envelope(
        headers={k: v for k, v in message.headers.items() if isinstance(v, str | int)},
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        priority=message.priority,
    )


@pytest.fixture
async def start_worker(worker_url: str) -> AsyncIterator[StartWorker]:
    async with AsyncExitStack() as connections:

        async def start(answer: Answer) -> StandInWorker:
            worker = StandInWorker(answer)
            connection = await worker.start(worker_url)
            connections.push_async_callback(connection.close)
            return worker

        yield start


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.02)


async def test_a_completion_goes_out_as_written_and_its_answer_comes_back_byte_for_byte(
    broker_url: str, start_worker: StartWorker
) -> None:
    answer = b'{ "choices": [{"message": {"content": "caf\\u00e9"}}],\n "model": "m-1" }'
    worker = await start_worker(lambda request: done(request, answer))
    async with CompletionClient(broker_url, name="round-trip") as client:
        raw = b'{"model": "m",   "messages": []}'
        reply = await client.complete(
            tier="standard",
            body=raw,
            priority="high",
            dedupe="cache",
            idempotency_key="invoice-17",
            deadline=timedelta(minutes=2),
        )
    assert (reply.body, reply.text, reply.model) == (answer, "café", "m-1")
    assert (reply.endpoint, reply.attempts, reply.cached) == ("e1", 1, False)
    assert reply.timings.waited == timedelta(milliseconds=5)
    assert reply.job_id == job_id("producer", "invoice-17")
    message, request = worker.seen[0], worker.requests[0]
    assert message.body == raw
    assert message.user_id == "producer"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.priority == 7
    assert message.message_id not in {None, message.correlation_id}
    assert request.reply_to == "producer.round-trip"
    assert request.deadline is not None
    assert request.dedupe == "cache"


async def test_two_thousand_submissions_in_flight_all_get_their_own_reply(
    broker_url: str, start_worker: StartWorker
) -> None:
    await start_worker(lambda request: done(request, request.body))
    requests = [Request(tier="standard", body={"n": n}) for n in range(2000)]
    async with CompletionClient(broker_url) as client:
        jobs = [job async for job in client.submit_many(requests, in_flight=200)]
        replies = await asyncio.gather(*(job.reply() for job in jobs if isinstance(job, Job)))
    assert [reply.json()["n"] for reply in replies] == list(range(2000))


async def test_connections_cut_in_mid_flight_lose_no_submission_and_no_reply(
    *,
    broker_url: str,
    start_worker: StartWorker,
    close_connections: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "warren")
    worker = await start_worker(lambda request: done(request, request.body))
    closed: list[int] = []
    stop = asyncio.Event()

    async def cut() -> None:
        while len(closed) < 2:
            closed.append(await asyncio.to_thread(close_connections, "producer"))
        stop.set()

    async with CompletionClient(broker_url, name="cut") as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(cut())
        jobs: list[Job] = []

        async def submit() -> None:
            while not stop.is_set():
                jobs.append(await client.submit(tier="standard", body={"n": len(jobs)}))

        await asyncio.gather(*(submit() for _ in range(20)))
        replies = await asyncio.gather(*(job.reply() for job in jobs))
    assert sum(closed) >= 2
    assert "again" in caplog.text
    assert len(replies) == len(jobs) > 20
    confirmed = {job.submission_id for job in jobs}
    assert confirmed == {request.submission_id for request in worker.requests}


async def test_a_batch_outlives_a_killed_and_restarted_broker(
    broker_url: str, start_worker: StartWorker, restart_broker: Callable[[], object]
) -> None:
    worker = await start_worker(lambda request: done(request, request.body))
    again: asyncio.Task[StandInWorker] | None = None

    async def restart() -> StandInWorker:
        await asyncio.to_thread(restart_broker)
        # The first stand-in's own consumer may not survive the crash.
        return await start_worker(lambda request: done(request, request.body))

    source = (
        Request(tier="standard", body={"n": n}, idempotency_key=f"line-{n}") for n in range(3000)
    )
    answers: dict[int, object] = {}
    # So short that publishes fail while the broker is away, and the batch must repeat them.
    impatient = timedelta(seconds=0.5)
    async with CompletionClient(broker_url, name="batch", publish_timeout=impatient) as client:
        async for result in client.batch(source, in_flight=100):
            assert isinstance(result.answer, Reply), result.answer
            assert result.index not in answers
            answers[result.index] = result.answer.json()["n"]
            if len(answers) == 500:
                again = asyncio.create_task(restart())
    assert again is not None
    keys = {each.idempotency_key for one in (worker, await again) for each in one.requests}
    assert answers == {n: n for n in range(3000)}
    assert len(keys) == 3000


async def test_a_killed_and_restarted_broker_loses_no_confirmed_submission(
    broker_url: str,
    broker: Broker,
    start_worker: StartWorker,
    restart_broker: Callable[[], object],
) -> None:
    worker = await start_worker(lambda request: done(request, request.body))
    restarted = asyncio.Event()

    async def restart() -> None:
        await asyncio.to_thread(restart_broker)
        restarted.set()

    async with CompletionClient(
        broker_url, name="restart", publish_timeout=timedelta(seconds=90)
    ) as client:
        jobs: list[Job] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(restart())
            while not restarted.is_set():
                jobs.append(await client.submit(tier="standard", body={"n": len(jobs)}))
        # The first stand-in's own consumer may not have survived the crash: here it is the client that must.
        second = await start_worker(lambda request: done(request, request.body))
        jobs.append(await client.submit(tier="standard", body={"n": len(jobs)}))
        heard = await asyncio.gather(*(job.reply(45) for job in jobs), return_exceptions=True)
        missing = [n for n, reply in enumerate(heard) if not isinstance(reply, Reply)]
        # Where they are, should any be missing: in a queue, at a consumer, or nowhere.
        queues = await asyncio.to_thread(
            broker.ctl,
            *("list_queues", "-p", _vhost(broker_url)),
            *("name", "messages_ready", "messages_unacknowledged", "consumers"),
        )
    taken = {request.submission_id for request in (*worker.requests, *second.requests)}
    at_worker = [n for n in missing if jobs[n].submission_id in taken]
    assert not missing, f"missing {missing} of {len(jobs)}, taken {at_worker}; queues:\n{queues}"
    assert [reply.json()["n"] for reply in heard if isinstance(reply, Reply)] == list(
        range(len(jobs))
    )


async def test_a_restarted_client_of_the_same_name_finds_the_replies_that_waited(
    broker_url: str, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    async with CompletionClient(broker_url, name="stable") as client:
        job = await client.submit_request(REQUEST)
        await until(lambda: bool(worker.requests))
    await worker.send(done(worker.requests[0], b'{"late":1}'), "producer.stable")
    async with CompletionClient(broker_url, name="stable") as client:
        reply = await client.job(job.submission_id).reply(timeout=30)
    assert reply.json() == {"late": 1}
    assert reply.job_id == job.id


async def test_a_reply_that_nobody_waits_for_goes_to_the_callback(
    broker_url: str, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    unclaimed: asyncio.Queue[Reply | JobError] = asyncio.Queue()
    async with CompletionClient(broker_url, name="callback", on_unclaimed=unclaimed.put) as client:
        with pytest.raises(DeadlineExceeded) as error:
            await client.complete(tier="standard", body=b"{}", deadline=timedelta(seconds=0.1))
        await worker.send(done(worker.requests[0]), "producer.callback")
        async with asyncio.timeout(30):
            reply = await unclaimed.get()
    assert isinstance(reply, Reply)
    assert reply.submission_id == error.value.submission_id


async def test_a_plain_function_hears_of_unclaimed_replies_in_a_thread_where_it_may_block(
    broker_url: str, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    heard: list[tuple[str, bool]] = []

    def hear(answer: Reply | JobError) -> None:
        mine = threading.current_thread() is threading.main_thread()
        heard.append((answer.submission_id, mine))

    async with CompletionClient(broker_url, name="plain", on_unclaimed=hear) as client:
        job = await client.submit_request(REQUEST)
        job.forget()
        await until(lambda: bool(worker.requests))
        await worker.send(done(worker.requests[0]), "producer.plain")
        await until(lambda: bool(heard))
    assert heard == [(job.submission_id, False)]


async def test_a_callback_that_fails_loses_no_reply(
    broker_url: str, start_worker: StartWorker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start_worker(lambda _request: None)
    called = asyncio.Event()

    async def fail(_answer: Reply | JobError) -> None:
        called.set()
        raise RuntimeError("a user's bug")

    async with CompletionClient(broker_url, name="failing", on_unclaimed=fail) as client:
        job = await client.submit_request(REQUEST)
        submission_id = job.submission_id
        job.forget()
        await until(lambda: bool(worker.requests))
        await worker.send(done(worker.requests[0]), "producer.failing")
        async with asyncio.timeout(30):
            await called.wait()
            await client.job(submission_id).reply()
    assert "on_unclaimed failed" in caplog.text


async def test_an_unknown_tier_is_named_and_its_neighbours_are_not_harmed(
    broker_url: str, start_worker: StartWorker
) -> None:
    await start_worker(done)
    good = [REQUEST] * 50
    async with CompletionClient(broker_url) as client:
        requests = [*good, Request(tier="no-such-tier", body=b'{"a":1}'), *good]
        results = [result async for result in client.submit_many(requests)]
    error = results.pop(50)
    assert isinstance(error, TierUnknown)
    assert error.tier == "no-such-tier"
    assert all(isinstance(result, Job) for result in results)


async def test_a_full_queue_refuses_with_a_typed_error(broker_url: str, broker: Broker) -> None:
    definition = '{"max-length":0,"overflow":"reject-publish"}'
    policy = [
        "-p",
        _vhost(broker_url),
        "--priority",
        "99",
        "--apply-to",
        "queues",
        "full",
        "jobs.budget",
    ]
    await asyncio.to_thread(broker.ctl, "set_policy", *policy, definition)
    try:
        async with CompletionClient(broker_url) as client:
            with pytest.raises(QueueFull, match="budget"):
                await client.submit(tier="budget", body=b"{}")
    finally:
        await asyncio.to_thread(broker.ctl, "clear_policy", "-p", _vhost(broker_url), "full")


async def test_an_alarm_makes_a_publish_wait_then_fail_clearly_and_replies_still_come(
    broker_url: str, broker: Broker, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    async with CompletionClient(
        broker_url, name="alarm", publish_timeout=timedelta(seconds=3)
    ) as client:
        before = await client.submit_request(REQUEST)
        await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            with pytest.raises(PublishFailed, match="alarm"):
                await client.submit_request(REQUEST)
        finally:
            await asyncio.to_thread(broker.ctl, "set_vm_memory_high_watermark", "0.6")
        await until(lambda: bool(worker.requests))
        await worker.send(done(worker.requests[0]), "producer.alarm")
        assert (await before.reply(30)).json() == {"ok": True}
        await client.submit_request(REQUEST)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (Status.DEAD_LETTERED, "server_error", JobFailed),
        (Status.EXPIRED, "expired", JobExpired),
    ],
)
async def test_an_ending_without_an_answer_is_raised(
    broker_url: str, start_worker: StartWorker, *, status: Status, kind: str, error: type[JobError]
) -> None:
    await start_worker(lambda request: ended(request, status, kind))
    async with CompletionClient(broker_url) as client:
        with pytest.raises(error) as raised:
            await client.complete(tier="standard", body=b"{}", deadline=timedelta(minutes=1))
    assert raised.value.kind == kind


async def test_the_reply_after_a_replay_is_reachable(
    broker_url: str, start_worker: StartWorker
) -> None:
    worker = await start_worker(
        lambda request: ended(request, Status.DEAD_LETTERED, "server_error")
    )
    async with CompletionClient(broker_url, name="replayed") as client:
        job = await client.submit_request(REQUEST)
        with pytest.raises(JobFailed) as failed:
            await job.reply(30)
        second = done(worker.requests[0]).model_copy(update={"run": 2})
        await worker.send(second, "producer.replayed")
        reply = await job.next_reply(after_run=failed.value.run, timeout=30)
        assert reply.run == 2
        assert await job.reply() == reply


async def test_an_unreadable_reply_is_dropped_and_the_next_one_is_heard(
    broker_url: str, start_worker: StartWorker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start_worker(lambda _request: None)
    async with CompletionClient(broker_url, name="poison", reply_prefetch=1) as client:
        job = await client.submit_request(REQUEST)
        versions: tuple[aio_pika.abc.HeadersType, ...] = (
            {},
            {"x-warren-version": 1},
            {"x-warren-version": "\x00"},
        )
        for headers in versions:
            message = aio_pika.Message(b"canary-body", headers=headers, message_id=repr(headers))
            await worker.replies.publish(message, "producer.poison")
        await until(lambda: bool(worker.requests))
        await worker.send(done(worker.requests[0]), "producer.poison")
        await job.reply(30)
    assert caplog.text.count("unreadable reply") == 3
    assert "canary" not in caplog.text


async def test_consuming_goes_on_after_the_reply_queue_was_deleted(
    broker_url: str, broker: Broker, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    async with CompletionClient(broker_url, name="deleted") as client:
        job = await client.submit_request(REQUEST)
        await until(lambda: bool(worker.requests))
        queue = reply_queue("producer", "deleted")
        await asyncio.to_thread(broker.ctl, "delete_queue", "-p", _vhost(broker_url), queue)
        reply = asyncio.create_task(job.reply(60))
        while not reply.done():
            await worker.send(done(worker.requests[0]), "producer.deleted")
            await asyncio.wait([reply], timeout=0.5)
        assert (await reply).json() == {"ok": True}


async def test_closing_tells_the_waiting_and_keeps_only_a_named_queue(
    broker_url: str, broker: Broker, start_worker: StartWorker
) -> None:
    await start_worker(lambda _request: None)
    names = []
    for name in ("kept", None):
        client = CompletionClient(broker_url, name=name)
        await client.open()
        names.append(reply_queue("producer", client.name))
        waiting = asyncio.create_task(client.complete(tier="standard", body=b"{}"))
        job = await client.submit_request(REQUEST)
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting
        with pytest.raises(ClientClosed):
            await job.reply()
        with pytest.raises(ClientClosed):
            await client.submit_request(REQUEST)
    queues = await asyncio.to_thread(broker.ctl, "list_queues", "-p", _vhost(broker_url), "name")
    assert names[0] in queues
    assert names[1] not in queues


async def test_a_cancelled_completion_leaves_nothing_behind(
    broker_url: str, start_worker: StartWorker
) -> None:
    worker = await start_worker(lambda _request: None)
    async with CompletionClient(broker_url) as client:
        await client.submit_request(REQUEST)
        before = asyncio.all_tasks()
        waiting = [
            asyncio.create_task(client.complete(tier="standard", body=b'{"a":1}'))
            for _ in range(100)
        ]
        await until(lambda: len(worker.requests) == 101)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert all(task.cancelled() for task in waiting)
        await until(
            lambda: not any("complete" in repr(task) for task in asyncio.all_tasks() - before)
        )
        assert len(client._mailboxes._open) == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda url: url.replace(urlsplit(url).password, "wr0ng-secret"), AccessRefused),
        (lambda url: _on_vhost(url, "no-such-vhost"), AccessRefused),
        (lambda url: url.replace(f":{urlsplit(url).port}/", ":1/"), BrokerUnavailable),
    ],
)
async def test_what_is_wrong_with_a_connection_is_told_without_the_password(
    broker_url: str,
    change: Callable[[str], str],
    error: type[BrokerUnavailable],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    url = change(broker_url)
    tasks = asyncio.all_tasks()
    with pytest.raises(error) as raised:
        await CompletionClient(url).open()
    assert type(raised.value) is error
    assert (
        str(urlsplit(url).password)
        not in f"{raised.value!s}{raised.value.__cause__!r}{caplog.text}"
    )
    assert asyncio.all_tasks() == tasks


async def test_a_missing_topology_is_told(broker_url: str, broker: Broker) -> None:
    await asyncio.to_thread(broker.ctl, "add_vhost", "bare")
    await asyncio.to_thread(
        broker.ctl, "set_permissions", "-p", "bare", "producer", ".*", ".*", ".*"
    )
    with pytest.raises(TopologyMissing, match=r"warren\.replies"):
        await CompletionClient(_on_vhost(broker_url, "bare")).open()


async def test_a_reply_queue_of_another_lifetime_is_told(broker_url: str) -> None:
    async with CompletionClient(broker_url, name="lifetime"):
        pass
    other = CompletionClient(broker_url, name="lifetime", reply_queue_ttl=timedelta(days=1))
    with pytest.raises(InvalidSetting, match="reply_queue_ttl"):
        await other.open()


async def test_no_body_is_logged_when_a_cancelled_publish_is_returned(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with CompletionClient(broker_url) as client:
        for turns in range(40):
            submission = asyncio.create_task(client.submit(tier="no-such-tier", body=b"canary"))
            for _ in range(turns):
                await asyncio.sleep(0)
            submission.cancel()
            await asyncio.gather(submission, return_exceptions=True)
        with pytest.raises(TierUnknown):
            await client.submit(tier="no-such-tier", body=b"canary")
    assert "canary" not in caplog.text


async def test_a_consumer_that_was_lost_without_a_word_is_replaced(
    broker_url: str, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[ReplyConsumer] = []
    real = ReplyConsumer.open

    async def noted(self: ReplyConsumer, *, ttl: timedelta, prefetch: int) -> None:
        opened.append(self)
        await real(self, ttl=ttl, prefetch=prefetch)

    monkeypatch.setattr(ReplyConsumer, "open", noted)
    await start_worker(lambda request: done(request, request.body))
    async with CompletionClient(broker_url, name="watched") as client:
        queue = opened[0]._queue
        assert queue is not None
        await queue.cancel(opened[0]._consumer)
        reply = await (await client.submit_request(REQUEST)).reply(45)
    assert reply.body
    assert len(opened) == 2
