"""What type checkers tell users of the SDK; mypy checks this file, pytest only that it runs."""

from typing import assert_type

from producer_sdk import CompletionClient, Job, Reply, Request, WarrenError
from producer_sdk.completions import Completions
from producer_sdk.reply import Usage
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
