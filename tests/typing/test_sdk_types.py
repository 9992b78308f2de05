"""What type checkers tell users of the SDK; mypy checks this file, pytest only that it runs."""

from collections.abc import Generator
from datetime import datetime
from typing import assert_type

from producer_sdk import CompletionClient, Job, Reply, Request, WarrenError, sync
from producer_sdk.completions import Completions
from producer_sdk.reply import Usage
from producer_sdk.sync.testing import FakeCompletionClient as SyncFakeCompletionClient
from producer_sdk.testing import FakeCompletionClient


async def ask(client: Completions) -> Reply:
    """Code under test takes the interface, so that both clients fit."""
    job = await client.submit(tier="standard", model="m", messages=[], dedupe="cache")
    assert_type(job, Job)
    async for outcome in client.submit_many([Request.embedding(tier="t", model="m", texts="x")]):
        assert_type(outcome, Job | WarrenError)
    async for result in client.batch([Request(tier="t", body=b"{}")]):
        assert_type(result.answer, Reply | WarrenError)
    reply = await client.complete(tier="standard", model="m", messages=[], priority="high")
    assert_type(reply, Reply)
    assert_type(reply.usage, Usage | None)
    assert_type(reply.text, str)
    return reply


async def test_both_clients_fit_where_the_interface_is_taken() -> None:
    real: Completions = CompletionClient("amqp://app:secret@127.0.0.1/warren")
    async with FakeCompletionClient("yes") as fake:
        assert (await ask(fake)).text == "yes"
    assert type(real).complete is type(fake).complete


def ask_without_a_loop(client: sync.Completions) -> Reply:
    """The same, for code without an event loop."""
    job = client.submit(tier="standard", model="m", messages=[], dedupe="cache")
    assert_type(job, sync.Job)
    assert_type(job.reply(timeout=1), Reply)
    assert_type(job.next_reply(after_run=0, timeout=1), Reply)
    assert_type(job.id, str)
    assert_type(job.deadline, datetime | None)
    assert_type(client.cancel(job.id), bool)
    assert_type(client.result(job.id, timeout=30), Reply)
    assert_type(client.job(job.submission_id), sync.Job)
    outcomes = client.submit_many([Request.embedding(tier="t", model="m", texts="x")], in_flight=1)
    assert_type(outcomes, Generator[sync.Job | WarrenError, None, None])
    outcomes.close()
    with client as same:
        assert_type(same, sync.Completions)
        return client.complete(tier="standard", model="m", messages=[], priority="high")


def test_both_synchronous_clients_fit_where_their_interface_is_taken() -> None:
    real: sync.Completions = sync.CompletionClient("amqp://app:secret@127.0.0.1/warren", name="n")
    fake = SyncFakeCompletionClient("yes", tenant="app")
    assert ask_without_a_loop(fake).text == "yes"
    assert type(real).complete is type(fake).complete


def test_a_type_checker_refuses_what_the_asynchronous_methods_would_refuse() -> None:
    client = SyncFakeCompletionClient("yes")
    try:
        client.submit(tier="standard", priority="urgent")  # type: ignore[arg-type]
    except WarrenError:
        client.close()
    try:
        sync.CompletionClient(URL="x")  # type: ignore[call-arg]
    except TypeError:
        return
    raise AssertionError
