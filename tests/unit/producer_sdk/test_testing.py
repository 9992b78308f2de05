import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from producer_sdk import (
    ClientClosed,
    CompletionClient,
    Completions,
    DeadlineExceeded,
    Dedupe,
    InvalidRequest,
    InvalidSetting,
    Job,
    JobCancelled,
    JobFailed,
    JobNotEnded,
    JobUnknown,
    QueueFull,
    ReplyNotRequested,
    ReplyTimeout,
    Request,
    Source,
    WarrenError,
)
from producer_sdk.testing import SILENCE, Failure, FakeCompletionClient, Success
from producer_sdk.wire import Status, job_id

FAST = Request(tier="fast", body=b"{}")


def test_the_double_and_the_client_have_the_same_public_names_and_signatures() -> None:
    for name, member in inspect.getmembers(Completions, inspect.isfunction):
        if name.startswith("_") and not name.startswith("__a"):
            continue
        for kind in (CompletionClient, FakeCompletionClient):
            assert inspect.signature(getattr(kind, name)) == inspect.signature(member), name
    added = set(dir(FakeCompletionClient)) - set(dir(CompletionClient))
    assert {name for name in added if not name.startswith("_")} == {"deliver", "script"}
    assert {
        name for name in set(dir(CompletionClient)) - set(dir(Completions)) if name[0] != "_"
    } == set()


async def test_a_scripted_text_is_the_replys_text_and_the_request_is_recorded() -> None:
    async with FakeCompletionClient("Paris.") as client:
        reply = await client.complete(tier="fast", model="m", messages=[], priority="high")
    assert reply.text == "Paris."
    assert client.requests[0].body == {"model": "m", "messages": []}
    assert client.requests[0].priority == "high"


async def test_answers_come_in_turn_and_the_last_for_ever() -> None:
    async with FakeCompletionClient("one", "two") as client:
        texts = [(await client.complete(tier="fast", body=b"{}")).text for _ in range(3)]
    assert texts == ["one", "two", "two"]


async def test_the_newest_script_whose_condition_holds_answers() -> None:
    client = FakeCompletionClient("default")
    client.script(lambda request: request.tier.upper(), when=lambda request: request.tier != "fast")
    async with client:
        assert (await client.complete(tier="fast", body=b"{}")).text == "default"
        assert (await client.complete(tier="slow", body=b"{}")).text == "SLOW"


async def test_a_request_that_no_script_answers_is_an_error_of_the_test() -> None:
    async with FakeCompletionClient() as client:
        with pytest.raises(AssertionError, match="fast"):
            await client.submit_request(FAST)


async def test_a_failure_is_raised_as_the_real_one_would_be() -> None:
    failure = Failure(kind="content_policy", status=400, code="nope")
    async with FakeCompletionClient(failure) as client:
        with pytest.raises(JobFailed, match="nope") as error:
            await client.complete(tier="fast", body=b"{}", idempotency_key="k")
    assert (error.value.kind, error.value.status) == ("content_policy", 400)
    assert error.value.job_id == job_id("test", "k")


async def test_endings_and_circumstances_can_be_scripted() -> None:
    cancelled = Failure(kind="cancelled", ending=Status.CANCELLED)
    async with FakeCompletionClient(
        cancelled, Success(body={"model": "m"}, source=Source.CACHE)
    ) as client:
        with pytest.raises(JobCancelled):
            await client.complete(tier="fast", body=b"{}")
        reply = await client.complete(tier="fast", body=b"{}", dedupe=Dedupe.CACHE)
    assert reply.cached
    assert reply.model == "m"


async def test_a_submissions_error_is_raised_by_submit() -> None:
    async with FakeCompletionClient(QueueFull(submission_id="x", tier="fast")) as client:
        with pytest.raises(QueueFull):
            await client.submit_request(FAST)


async def test_the_same_requests_are_refused_as_by_the_real_client() -> None:
    async with FakeCompletionClient("x") as client:
        with pytest.raises(InvalidRequest, match="stream"):
            await client.complete(tier="fast", model="m", messages=[], stream=True)
        assert client.requests == []


async def test_the_apis_own_reply_parameter_reaches_the_body() -> None:
    async with FakeCompletionClient("x") as client:
        await client.complete(tier="fast", model="m", reply=False)
    assert client.requests[0].body == {"model": "m", "reply": False}


async def test_silence_lets_the_deadline_pass_and_the_late_reply_is_found_by_its_id() -> None:
    async with FakeCompletionClient(SILENCE) as client:
        with pytest.raises(DeadlineExceeded) as error:
            await client.complete(tier="fast", body=b"{}", deadline=timedelta(milliseconds=1))
        client.deliver(error.value.submission_id, "late")
        reply = await client.job(error.value.submission_id).reply()
    assert reply.text == "late"


async def test_a_deadline_that_has_passed_is_not_sent() -> None:
    async with FakeCompletionClient("x") as client:
        with pytest.raises(DeadlineExceeded):
            await client.complete(tier="fast", body=b"{}", deadline=timedelta(0))
        assert client.requests == []


async def test_a_timeout_leaves_the_job_to_be_awaited_again() -> None:
    async with FakeCompletionClient(SILENCE) as client:
        job = await client.submit(tier="fast", body=b"{}", deadline=timedelta(minutes=5))
        with pytest.raises(ReplyTimeout, match=job.submission_id):
            await job.reply(timeout=timedelta(0))
        before = job.done
        client.deliver(job.submission_id, "now")
        assert (before, job.done) == (False, True)
        assert (await job.reply()).text == "now"
        assert await job.reply() == await job.reply()


async def test_a_replay_is_awaited_with_next_reply_and_reply_then_gives_it() -> None:
    async with FakeCompletionClient(Failure(kind="server_error")) as client:
        job = await client.submit(tier="fast", body=b"{}", deadline=timedelta(minutes=5))
        for _ in range(2):
            with pytest.raises(JobFailed) as error:
                await job.reply()
        replayed = asyncio.create_task(job.next_reply(after_run=error.value.run))
        await asyncio.sleep(0)
        client.deliver(job.submission_id, Failure(kind="again"), run=1)
        client.deliver(job.submission_id, "worked", run=2)
        assert (await replayed).text == "worked"
        assert (await job.reply()).run == 2
        with pytest.raises(ReplyTimeout):
            await job.next_reply(timeout=0)


async def test_a_submission_without_a_reply_cannot_be_awaited() -> None:
    async with FakeCompletionClient("x") as client:
        job = await client.submit_request(FAST, reply=False)
        assert client.submissions[0].reply_to is None
        with pytest.raises(ReplyNotRequested):
            await job.reply()


async def test_jobs_of_one_key_are_one_job_with_several_submissions() -> None:
    async with FakeCompletionClient("x") as client:
        first, second = [
            await client.submit(tier="fast", body=b"{}", idempotency_key="k") for _ in range(2)
        ]
    assert first.id == second.id
    assert first.submission_id != second.submission_id


async def test_a_closed_client_refuses_and_its_waiters_hear() -> None:
    client = FakeCompletionClient(SILENCE)
    waiting = asyncio.create_task(client.complete(tier="fast", body=b"{}"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        await client.submit_request(FAST)


async def test_many_are_submitted_in_order_and_one_failure_stops_no_other() -> None:
    client = FakeCompletionClient("x")
    client.script(QueueFull(submission_id="x", tier="b"), when=lambda request: request.tier == "b")
    requests = [Request(tier=tier, body=b"{}") for tier in ("a", "b", "a.b", "c")]
    results: list[Job | WarrenError] = [
        one async for one in client.submit_many(requests, in_flight=2)
    ]
    assert [type(result) for result in results] == [Job, QueueFull, InvalidRequest, Job]


async def test_no_more_than_the_bound_is_in_flight_and_stopping_early_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield FAST

    results = FakeCompletionClient("x").submit_many(endless(), in_flight=5)
    await anext(results)
    assert taken == 5
    await results.aclose()
    assert asyncio.all_tasks() == before


async def test_requests_may_come_from_an_asynchronous_source() -> None:
    async def source() -> AsyncIterator[Request]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield FAST

    results = [result async for result in FakeCompletionClient("x").submit_many(source())]
    assert [type(result) for result in results] == [Job] * 3


async def test_a_flight_of_none_is_refused() -> None:
    with pytest.raises(InvalidSetting):
        await anext(FakeCompletionClient("x").submit_many([FAST], in_flight=0))


async def test_cancelling_a_completion_leaves_nothing_behind() -> None:
    client = FakeCompletionClient(SILENCE)
    before = asyncio.all_tasks()
    waiting = [asyncio.create_task(client.complete(tier="fast", body=b"{}")) for _ in range(2000)]
    await asyncio.sleep(0)
    assert len(client._mailboxes._open) == 2000
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert len(client._mailboxes._open) == 0


async def test_a_job_that_waits_can_be_cancelled_and_its_waiter_hears() -> None:
    async with FakeCompletionClient(SILENCE) as client:
        job = await client.submit(tier="standard", idempotency_key="k", model="m", messages=[])
        with pytest.raises(JobNotEnded):
            await client.result(job.id)
        assert await job.cancel()
        with pytest.raises(JobCancelled):
            await job.reply()


async def test_a_result_is_found_by_the_jobs_id_and_a_cancel_that_is_too_late_says_so() -> None:
    async with FakeCompletionClient("Paris.") as client:
        job = await client.submit(tier="standard", model="m", messages=[])
        assert (await client.result(job.id)).text == "Paris."
        assert not await client.cancel(job.id)
        with pytest.raises(JobUnknown):
            await client.cancel("0" * 32)
        with pytest.raises(InvalidRequest, match="32 hex digits"):
            await client.result("3f2a91")


async def test_a_job_found_again_without_its_key_is_not_called_off_under_a_wrong_one() -> None:
    async with FakeCompletionClient(SILENCE) as client:
        job = await client.submit(tier="standard", idempotency_key="k", model="m", messages=[])
        with pytest.raises(JobUnknown):
            await client.job(job.submission_id).cancel()
        assert not job.done
        assert await client.job(job.submission_id, idempotency_key="k").cancel()
