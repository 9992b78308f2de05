"""Channels: exchanges, queues and routing keys are those that the broker holds and the SDK declares."""

import inspect
import re
from datetime import timedelta
from typing import Any

import pytest

from producer_sdk import CompletionClient
from producer_sdk.connection import Address
from producer_sdk.replies import ReplyConsumer
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import (
    ASK_KEY,
    REPLIES_EXCHANGE,
    REQUESTS_EXCHANGE,
    Lane,
    reply_queue,
    reply_route,
    request_key,
)
from tests.unit.asyncapi.document import CHANNELS, DOCUMENT
from worker.broker import names
from worker.broker.definitions import to_definitions
from worker.broker.topology import topology

TIERS = ("premium", "standard")
HELD = to_definitions(topology(TIERS, lanes=tuple(Lane), tenants=("billing",)))
EXCHANGES = {each["name"]: each for each in HELD["exchanges"]}
QUEUES = {each["name"]: each for each in HELD["queues"]}
BY_KEY = [name for name, it in CHANNELS.items() if it["bindings"]["amqp"]["is"] == "routingKey"]
BY_QUEUE = [name for name in CHANNELS if name not in BY_KEY]


def address(channel: str, **parameters: str) -> str:
    """Fill a channel's address in."""
    said: str = CHANNELS[channel]["address"].format(**parameters)
    return said


@pytest.mark.parametrize("channel", BY_KEY)
def test_an_exchange_is_the_one_that_the_broker_holds(channel: str) -> None:
    said = CHANNELS[channel]["bindings"]["amqp"]["exchange"]
    held = EXCHANGES[said["name"]]
    assert said == {
        "name": held["name"],
        "type": held["type"],
        "durable": held["durable"],
        "autoDelete": held["auto_delete"],
        "vhost": held["vhost"],
    }


@pytest.mark.parametrize("channel", BY_QUEUE)
def test_a_queues_name_is_its_channels_address(channel: str) -> None:
    said = CHANNELS[channel]["bindings"]["amqp"]["queue"]
    assert said["name"] == CHANNELS[channel]["address"]
    assert said["vhost"] == HELD["vhosts"][0]["name"]
    assert DOCUMENT["servers"]["broker"]["variables"]["vhost"]["default"] == said["vhost"]


def test_addresses_are_what_the_contracts_functions_give() -> None:
    for lane in Lane:
        assert address("requests", tier="premium", lane=lane.value) == request_key("premium", lane)
    assert address("asks") == ASK_KEY
    assert address("replies", tenant="billing", client="c") == reply_route("billing", "c")
    assert address("callbacks", tenant="billing", client="c") == reply_queue("billing", "c")
    assert address("deadLetters", tier="premium") == names.dead_queue("premium")
    assert address("quarantine") == names.QUARANTINE_QUEUE


def test_lanes_are_the_contracts() -> None:
    assert DOCUMENT["components"]["parameters"]["lane"]["enum"] == [lane.value for lane in Lane]


def test_producers_may_publish_what_the_broker_routes_and_nothing_else() -> None:
    said = {CHANNELS[name]["bindings"]["amqp"]["exchange"]["name"] for name in BY_KEY}
    assert said == {REQUESTS_EXCHANGE, REPLIES_EXCHANGE}
    known = {address("requests", tier=tier, lane=lane.value) for tier in TIERS for lane in Lane}
    routed = {
        each["routing_key"] for each in HELD["bindings"] if each["source"] == REQUESTS_EXCHANGE
    }
    assert known <= routed <= known | {address("asks")}


@pytest.mark.parametrize(
    ("channel", "parameters"), [("deadLetters", {"tier": "premium"}), ("quarantine", {})]
)
def test_what_operators_read_is_there_and_they_may_read_it(
    channel: str, parameters: dict[str, str]
) -> None:
    name = address(channel, **parameters)
    said = CHANNELS[channel]["bindings"]["amqp"]["queue"]
    assert (said["durable"], said["autoDelete"]) == (
        QUEUES[name]["durable"],
        QUEUES[name]["auto_delete"],
    )
    (operator,) = (each for each in HELD["permissions"] if each["user"] == "operator")
    assert re.search(operator["read"], name)


def test_a_tenant_may_declare_its_callback_queue_and_bind_it_to_its_own_route() -> None:
    (tenant,) = (each for each in HELD["permissions"] if each["user"] == "billing")
    queue = address("callbacks", tenant="billing", client="c")
    for verb in ("configure", "write", "read"):
        assert re.search(tenant[verb], queue)
        assert not re.search(tenant[verb], address("callbacks", tenant="other", client="c"))
    (topic,) = HELD["topic_permissions"]
    assert re.search(topic["read"], address("replies", tenant="billing", client="c"))
    assert not re.search(topic["read"], address("replies", tenant="other", client="c"))


def test_the_quarantines_bounds_are_the_policys() -> None:
    (policy,) = (each for each in HELD["policies"] if each["name"] == "warren-quarantine")
    bounds = policy["definition"]
    said = CHANNELS["quarantine"]["description"]
    assert f"{bounds['max-length']} messages" in said
    assert f"{bounds['max-length-bytes'] // 1024**2} MiB" in said


class _Broker:
    """Notes what a client declares; it is connection, channel and queue at once."""

    def __init__(self) -> None:
        self.declared: dict[str, Any] = {}
        self.bound: tuple[str, str] = ("", "")
        self.declaration_result = self
        self.consumer_count = 0

    async def channel(self, **_: object) -> "_Broker":
        return self

    async def set_qos(self, **_: object) -> None:
        """Take any."""

    async def declare_queue(self, name: str, **declared: object) -> "_Broker":
        self.declared = {"name": name, **declared}
        return self

    async def bind(self, exchange: str, key: str) -> None:
        self.bound = (exchange, key)

    async def consume(self, _: object) -> str:
        return "consumer"


async def test_a_callback_queue_is_declared_and_bound_as_the_sdk_does() -> None:
    broker = _Broker()
    consumer = ReplyConsumer(
        broker,  # type: ignore[arg-type]  # as much of a connection as is used
        Address.parse("amqp://billing:x@127.0.0.1/warren"),
        name="c",
        mailboxes=Mailboxes(),
        on_unclaimed=None,
    )
    ttl = inspect.signature(CompletionClient).parameters["reply_queue_ttl"].default
    assert isinstance(ttl, timedelta)
    await consumer.open(ttl=ttl, prefetch=1)
    said = CHANNELS["callbacks"]
    queue = said["bindings"]["amqp"]["queue"]
    assert broker.declared == {
        "name": queue["name"].format(tenant="billing", client="c"),
        "durable": queue["durable"],
        "arguments": said["x-queue-arguments"],
    }
    # What the SDK does not say, AMQP takes as false.
    assert (queue["exclusive"], queue["autoDelete"]) == (False, False)
    assert broker.bound == (REPLIES_EXCHANGE, address("replies", tenant="billing", client="c"))
