import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import pytest
from aio_pika import Exchange, Message, RobustChannel, RobustConnection
from aio_pika.exceptions import (
    AMQPConnectionError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
)
from aiormq.exceptions import ChannelAccessRefused
from pamqp.commands import Basic

from producer_sdk.connection import Address
from producer_sdk.errors import (
    AccessRefused,
    PublishRefused,
    PublishUnconfirmed,
    PublishUnsent,
    QueueFull,
    TopologyMissing,
    WarrenError,
)
from producer_sdk.publisher import Publisher
from producer_sdk.wire import CompletionRequest, Lane

ADDRESS = Address.parse("amqp://app:secret@host/v")
SUBMISSION = CompletionRequest(
    submission_id="s1",
    path="/v1/completions",
    body=b"12345",
    submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
)


class FakeBroker:
    """Exchange, channel, transport and connection at once: fails publishes as scripted, then confirms."""

    def __init__(
        self, *failures: BaseException, blocked: bool = False, silent: bool = False
    ) -> None:
        self.failures = list(failures)
        self.sent: list[tuple[Message, str]] = []
        self.connected = asyncio.Event()
        self.connected.set()
        self.unblocked = asyncio.Event()
        self.first_sent = asyncio.Event()
        self.silent = silent
        self.transport = self
        if not blocked:
            self.unblocked.set()

    async def ready(self) -> None:
        await self.unblocked.wait()

    async def close(self) -> None:
        self.connected.clear()

    async def publish(self, message: Message, routing_key: str, *, mandatory: bool) -> None:
        assert mandatory
        self.sent.append((message, routing_key))
        self.first_sent.set()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        if self.silent:
            await asyncio.Event().wait()


class OpenChannel:
    async def ready(self) -> None:
        await asyncio.sleep(0)


def publisher(broker: FakeBroker) -> Publisher:
    return Publisher(
        cast("RobustConnection", broker),
        ADDRESS,
        cast("RobustChannel", OpenChannel()),
        cast("Exchange", broker),
    )


async def publish(to: Publisher, timeout_s: float = 30) -> None:
    await to.publish(SUBMISSION, tier="gold", lane=Lane.BULK, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "loss",
    [
        lambda: AMQPConnectionError("lost"),
        lambda: ChannelInvalidStateError("closed"),
        ConnectionResetError,
        # What the library gives when it drops a connection whose heartbeats stay away.
        asyncio.CancelledError,
        # A neighbour's message was too large, and its refusal closed the channel for all.
        lambda: ChannelPreconditionFailed("message size 99 is larger than configured max size 9"),
    ],
)
async def test_a_lost_confirm_repeats_the_submission_under_a_fresh_message_id(
    loss: Callable[[], BaseException],
) -> None:
    broker = FakeBroker(loss(), loss())
    await publish(publisher(broker))
    messages = [message for message, _ in broker.sent]
    assert [message.correlation_id for message in messages] == ["s1"] * 3
    assert len({message.message_id for message in messages}) == 3
    assert {message.user_id for message in messages} == {"app"}
    assert {key for _, key in broker.sent} == {"gold.bulk"}


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (lambda: DeliveryError(None, Basic.Nack()), QueueFull),
        (lambda: ChannelAccessRefused("write access to exchange refused"), AccessRefused),
        (lambda: ChannelNotFoundEntity("no exchange 'warren.requests'"), TopologyMissing),
        (lambda: ChannelPreconditionFailed("message size 5 is larger than"), PublishRefused),
        (lambda: ChannelPreconditionFailed("user_id property set to 'x'"), PublishRefused),
    ],
)
async def test_a_refusal_is_told_and_not_repeated(
    refusal: Callable[[], BaseException], error: type[WarrenError]
) -> None:
    broker = FakeBroker(refusal())
    with pytest.raises(error):
        await publish(publisher(broker))
    assert len(broker.sent) == 1


async def test_a_refusal_after_a_lost_confirm_does_not_say_that_nothing_was_stored() -> None:
    broker = FakeBroker(AMQPConnectionError("lost"), DeliveryError(None, Basic.Nack()))
    with pytest.raises(PublishUnconfirmed, match=r"queue full.* may or may not have been stored"):
        await publish(publisher(broker))
    assert len(broker.sent) == 2


async def test_without_a_confirm_in_time_the_request_may_or_may_not_be_stored() -> None:
    broker = FakeBroker(silent=True)
    to = publisher(broker)
    with pytest.raises(PublishUnconfirmed, match="may or may not"):
        await publish(to, timeout_s=0.01)
    await to.close()


async def test_while_an_alarm_lasts_nothing_is_sent() -> None:
    broker = FakeBroker(blocked=True)
    with pytest.raises(PublishUnsent, match="alarm"):
        await publish(publisher(broker), timeout_s=0.01)
    assert broker.sent == []


async def test_a_connection_that_is_down_is_named_as_the_obstacle() -> None:
    broker = FakeBroker(blocked=True)
    broker.connected.clear()
    with pytest.raises(PublishUnsent, match="down"):
        await publish(publisher(broker), timeout_s=0.01)


async def test_a_cancelled_publish_is_left_to_the_library_until_the_connection_closes() -> None:
    before = asyncio.all_tasks()
    broker = FakeBroker(silent=True)
    to = publisher(broker)
    publishing = asyncio.create_task(publish(to))
    await broker.first_sent.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert len(asyncio.all_tasks() - before) == 1
    await to.close()
    assert not broker.connected.is_set()
    assert asyncio.all_tasks() == before
