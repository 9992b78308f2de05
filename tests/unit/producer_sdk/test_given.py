"""What is no duration, count or request at all is refused by name, never with Python's own error."""

import math
from datetime import timedelta
from typing import Any

import pytest

from producer_sdk import CompletionClient, InvalidRequest, InvalidSetting, Job, Request
from producer_sdk.given import timeout_s
from producer_sdk.testing import SILENCE, FakeCompletionClient

URL = "amqp://app:secret@127.0.0.1/warren"
NO_TIMEOUTS = [math.nan, math.inf, -1, -0.1, timedelta(seconds=-1), "5", True, [], timedelta.max]


@pytest.mark.parametrize("value", NO_TIMEOUTS, ids=repr)
def test_what_is_no_timeout_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidRequest, match="timeout: must be a timedelta or a number"):
        timeout_s(value)


@pytest.mark.parametrize(
    ("value", "seconds"), [(0, 0), (2.5, 2.5), (timedelta(minutes=1), 60), (timedelta(), 0)]
)
def test_a_timeout_is_a_number_of_seconds_or_a_timedelta(value: object, seconds: float) -> None:
    assert timeout_s(value) == seconds


@pytest.mark.parametrize("value", NO_TIMEOUTS, ids=repr)
async def test_every_wait_refuses_what_is_no_timeout(value: Any) -> None:  # noqa: ANN401  # the point
    async with FakeCompletionClient(SILENCE) as client:
        job = await client.submit(tier="small", model="m")
        for wait in (job.reply, job.next_reply, job.cancel):
            with pytest.raises(InvalidRequest, match="timeout: "):
                await wait(timeout=value)
        for ask in (client.result, client.cancel):
            with pytest.raises(InvalidRequest, match="timeout: "):
                await ask("0" * 32, timeout=value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"publish_timeout": 5}, "publish_timeout: must be a timedelta"),
        ({"connect_timeout": timedelta()}, "connect_timeout: must be a timedelta"),
        ({"reply_queue_ttl": None}, "reply_queue_ttl: must be a timedelta"),
        ({"heartbeat": timedelta(seconds=-1)}, "heartbeat: must be a timedelta"),
        ({"reply_prefetch": 0}, "reply_prefetch: must be a whole number"),
        ({"reply_prefetch": 1.5}, "reply_prefetch: must be a whole number"),
        ({"reply_prefetch": 70_000}, "reply_prefetch: must be a whole number"),
        ({"url": None}, "url: must look like amqps://"),
        ({"url": 7}, "url: must look like amqps://"),
        ({"url": b"amqp://app@host"}, "url: must look like amqps://"),
        ({"url": "nonsense"}, "url: must look like amqps://"),
        ({"name": 7}, "client name must be"),
        ({"name": ""}, "client name must be"),
    ],
    ids=str,
)
def test_a_setting_of_the_client_that_cannot_be_used_is_refused_by_name(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidSetting, match=named):
        CompletionClient(**{"url": URL} | settings)


@pytest.mark.parametrize("in_flight", [0, -1, 1.5, None, True])
async def test_a_number_in_flight_that_is_none_is_refused_by_name(in_flight: Any) -> None:  # noqa: ANN401  # the point
    async with FakeCompletionClient("x") as client:
        with pytest.raises(InvalidSetting, match="in_flight: "):
            [each async for each in client.submit_many([], in_flight=in_flight)]


async def test_what_is_no_request_is_refused_and_stops_no_other() -> None:
    async with FakeCompletionClient("x") as client:
        with pytest.raises(InvalidRequest, match="request: must be a Request"):
            await client.submit_request("hello")  # type: ignore[arg-type]  # the point
        good = client.submit_many([None, Request(tier="t", body={"model": "m"})])  # type: ignore[list-item]  # the point
        outcomes = [each async for each in good]
    assert [type(each) for each in outcomes] == [InvalidRequest, Job]


@pytest.mark.parametrize("job", [7, None, "", "x" * 32])
async def test_what_is_no_jobs_id_is_refused_by_name(job: Any) -> None:  # noqa: ANN401  # the point
    async with FakeCompletionClient("x") as client:
        with pytest.raises(InvalidRequest, match="job: must be a job's id"):
            await client.result(job)
