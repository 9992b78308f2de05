import asyncio
import re
from datetime import timedelta

import pytest
from yarl import URL

from producer_sdk import ClientClosed, CompletionClient, InvalidSetting
from producer_sdk import client as client_module
from producer_sdk.connection import Address, _Roaming
from producer_sdk.wire import QueueType


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://u:p@h/v",
        "amqp://host/v",
        "amqp:///v",
        "amqp://u:p@h:notaport/v",
        "amqp://u:canary@[h/v",
    ],
)
def test_a_url_that_names_no_broker_or_no_tenant_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="amqps://") as error:
        CompletionClient(url)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "tenant", "where"),
    [
        ("amqp://app:x@host/warren", "app", "host:5672, virtual host 'warren'"),
        ("amqps://app:x@host", "app", "host:5671, virtual host '/'"),
        ("amqp://a%2Db:x@[::1]:99/%2Fw", "a-b", "::1:99, virtual host '/w'"),
        ("amqps://app:x@one,two:7/w", "app", "one:5671, two:7, virtual host 'w'"),
    ],
)
def test_the_user_of_the_url_is_the_tenant(url: str, tenant: str, where: str) -> None:
    address = Address.parse(url)
    assert (address.tenant, address.where) == (tenant, where)
    assert "x@" not in repr(address)


@pytest.mark.parametrize(
    ("hosts", "chosen", "used"),
    [
        ("one", None, "classic"),
        ("one", "quorum", "quorum"),
        ("one,two", None, "quorum"),
        ("one,two", "classic", "classic"),
    ],
)
def test_who_names_several_nodes_has_its_replies_on_several(
    hosts: str, chosen: QueueType | None, used: str
) -> None:
    client = CompletionClient(f"amqps://app:x@{hosts}/v", reply_queue_type=chosen)
    assert client._reply_queue_type == used


async def test_each_attempt_to_connect_goes_to_the_next_node() -> None:
    connection = _Roaming(*(URL(f"amqp://app:canary@{host}/v") for host in ("one", "two")))
    assert [connection.url.host for _ in range(3)] == ["one", "two", "one"]
    assert "canary" not in f"{connection}{connection!r}"
    await connection.close()


def test_an_unknown_type_of_reply_queue_is_refused_by_name() -> None:
    with pytest.raises(InvalidSetting, match="reply_queue_type"):
        CompletionClient("amqp://app:x@host/v", reply_queue_type="stream")  # type: ignore[arg-type]


def test_a_fresh_name_is_a_valid_one_and_differs_each_time() -> None:
    names = {CompletionClient("amqp://app:x@host/v").name for _ in range(10)}
    assert len(names) == 10
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)


@pytest.mark.parametrize("name", ["", "a.b", "x" * 65, "a b"])
def test_a_name_that_cannot_be_a_route_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match="client name"):
        CompletionClient("amqp://app:x@host/v", name=name)


def test_a_tenant_that_cannot_be_a_route_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="tenant"):
        CompletionClient("amqp://a.b:x@host/v")


async def test_a_client_that_was_not_opened_says_so() -> None:
    client = CompletionClient("amqp://app:x@host/v")
    with pytest.raises(ClientClosed, match="async with"):
        await client.complete(tier="t", body=b"{}", deadline=timedelta(minutes=1))


async def test_closing_a_client_that_was_not_opened_does_nothing() -> None:
    client = CompletionClient("amqp://app:x@host/v")
    await client.close()
    await client.close()


async def test_a_task_that_swallows_a_cancellation_does_not_keep_a_client_from_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "_CANCEL_AGAIN_S", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await client_module._end(task)
    assert swallowed == 3
