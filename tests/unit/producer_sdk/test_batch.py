import asyncio
import re
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk import (
    AccessRefused,
    BatchResult,
    BrokerUnavailable,
    DeadlineExceeded,
    InvalidRequest,
    InvalidSetting,
    JobFailed,
    PublishUnconfirmed,
    PublishUnsent,
    QueueFull,
    Reply,
    Request,
    TierUnknown,
    WarrenError,
)
from producer_sdk import batch as batches
from producer_sdk.flight import as_completed
from producer_sdk.testing import SILENCE, Failure, FakeCompletionClient
from tests.faults.vhost import ROOT

UNSENT = PublishUnsent(submission_id="x", publish_timeout_s=1, obstacle="down")
UNCONFIRMED = PublishUnconfirmed(submission_id="x", publish_timeout_s=1, obstacle="down")
FULL = QueueFull(submission_id="x", tier="t")


def asked(count: int) -> Iterator[Request]:
    return (Request(tier="t", body={"n": n}, idempotency_key=f"k{n}") for n in range(count))


def echo(request: Request) -> bytes:
    return str(request.idempotency_key).encode()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_FIRST_PAUSE_S", 0.001)


async def test_every_request_has_one_result_that_tells_which_it_is() -> None:
    async with FakeCompletionClient(echo) as client:
        results = [result async for result in client.batch(asked(1000), in_flight=7)]
    assert sorted(result.index for result in results) == list(range(1000))
    for result in results:
        assert isinstance(result.answer, Reply)
        assert result.answer.body == f"k{result.index}".encode()
        assert result.request.idempotency_key == f"k{result.index}"


async def test_a_result_is_given_when_it_arrives_whatever_came_before_is_still_waited_for() -> None:
    client = FakeCompletionClient("x")
    client.script(SILENCE, when=lambda request: request.idempotency_key == "k0")
    async with client, aclosing(client.batch(asked(3), in_flight=3)) as results:
        first = [await anext(results), await anext(results)]
        client.deliver(client.submissions[0].submission_id, "late")
        last = await anext(results)
    assert {result.index for result in first} == {1, 2}
    assert last.index == 0


async def test_a_source_that_pauses_delays_no_result() -> None:
    more = asyncio.Event()

    async def source() -> AsyncIterator[Request]:
        yield Request(tier="t", body=b"{}")
        await more.wait()
        yield Request(tier="t", body=b"{}")

    async with FakeCompletionClient("x") as client, aclosing(client.batch(source())) as results:
        assert (await anext(results)).index == 0
        more.set()
        assert (await anext(results)).index == 1
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_one_bad_request_stops_no_other() -> None:
    client = FakeCompletionClient("x")
    client.script(Failure(kind="invalid_request", status=400), when=lambda it: it.tier == "bad")
    unknown = TierUnknown(submission_id="x", tier="none", lane="bulk")
    client.script(unknown, when=lambda request: request.tier == "none")
    tiers = ["a", "bad", "not a name", "none", "b"]
    async with client:
        requests = [Request(tier=tier, body=b"{}") for tier in tiers]
        results = [result async for result in client.batch(requests)]
    kinds = {tiers[result.index]: type(result.answer) for result in results}
    assert kinds == {
        "a": Reply,
        "bad": JobFailed,
        "not a name": InvalidRequest,
        "none": TierUnknown,
        "b": Reply,
    }


async def test_no_more_than_the_bound_is_in_flight_and_stopping_early_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield Request(tier="t", body=b"{}")

    async with FakeCompletionClient("x", SILENCE) as client:
        results = client.batch(endless(), in_flight=5)
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        assert taken == 5
        await results.aclose()
        assert len(client._mailboxes._open) == 0
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "passing", [UNSENT, UNCONFIRMED, FULL, BrokerUnavailable("away")], ids=repr
)
async def test_what_passes_is_submitted_again_with_the_same_key_and_deadline(
    passing: WarrenError,
) -> None:
    request = Request(tier="t", body=b"{}", deadline=timedelta(hours=1))
    async with FakeCompletionClient(passing, passing, "x") as client:
        (result,) = [each async for each in client.batch([request])]
    assert isinstance(result.answer, Reply)
    assert len(client.submissions) == 3
    assert len({sent.idempotency_key for sent in client.submissions}) == 1
    assert None not in {sent.idempotency_key for sent in client.submissions}
    assert len({sent.deadline for sent in client.submissions}) == 1


@pytest.mark.parametrize(
    "lasting",
    [AccessRefused("no"), TierUnknown(submission_id="x", tier="t", lane="bulk")],
    ids=repr,
)
async def test_what_does_not_pass_is_told_at_once(lasting: WarrenError) -> None:
    async with FakeCompletionClient(lasting, "x") as client:
        (result,) = [each async for each in client.batch(asked(1))]
    assert result.answer is lasting
    assert len(client.submissions) == 1


async def test_patience_that_is_spent_gives_the_last_error() -> None:
    async with FakeCompletionClient(UNSENT, FULL, "x") as client:
        (result,) = [each async for each in client.batch(asked(1), patience=timedelta(0))]
    assert result.answer is UNSENT


async def test_a_deadline_bounds_the_repeated_submissions() -> None:
    request = Request(tier="t", body=b"{}", deadline=datetime.now(UTC) + timedelta(milliseconds=20))
    async with FakeCompletionClient(UNSENT) as client:
        (result,) = [each async for each in client.batch([request])]
    assert isinstance(result.answer, DeadlineExceeded)


@pytest.mark.parametrize("in_flight", [0, 10_001])
async def test_a_flight_out_of_bounds_is_refused(in_flight: int) -> None:
    with pytest.raises(InvalidSetting):
        await anext(FakeCompletionClient("x").batch([], in_flight=in_flight))


async def test_a_source_that_fails_is_heard_and_ends_what_is_in_flight() -> None:
    def source() -> Iterator[Request]:
        yield from asked(2)
        raise LookupError("the file is gone")

    before = asyncio.all_tasks()
    async with FakeCompletionClient(SILENCE) as client:
        with pytest.raises(LookupError):
            _: list[BatchResult] = [each async for each in client.batch(source())]
    assert asyncio.all_tasks() == before


async def test_the_python_on_the_page_about_batches_runs() -> None:
    page = (ROOT / "docs/batches.md").read_text(encoding="utf-8")
    (fragment,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    client = FakeCompletionClient("x")
    names: dict[str, object] = {
        "CompletionClient": lambda *_, **__: client,
        "requests": asked(3),
        "url": "amqp://app:secret@127.0.0.1/warren",
        "print": lambda *_: None,
    }
    body = textwrap.indent(fragment, "    ")
    exec(compile(f"async def run():\n{body}", "batches.md", "exec"), names)  # noqa: S102  # our own page
    await names["run"]()  # type: ignore[operator]  # it was defined just now
    assert len(client.requests) == 3


@given(delays=st.lists(st.integers(0, 5), max_size=30), at_most=st.integers(1, 8))
def test_any_order_of_ends_gives_each_result_once_and_keeps_the_bound(
    delays: list[int], at_most: int
) -> None:
    async def flight() -> list[int]:
        running = most = 0

        async def work(index: int, yields: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(yields):
                await asyncio.sleep(0)
            running -= 1
            return index

        results = [result async for result in as_completed(delays, work, at_most=at_most)]
        assert most <= at_most
        return results

    assert sorted(asyncio.run(flight())) == list(range(len(delays)))
