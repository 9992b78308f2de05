"""The callback queue: replies come in here and go to whoever waits for them."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeAlias

from aio_pika import RobustConnection
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustQueue
from aio_pika.exceptions import ChannelPreconditionFailed

from producer_sdk.connection import LOST, Address, unavailable
from producer_sdk.errors import InvalidSetting, JobError, WarrenError
from producer_sdk.reply import Reply, read
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import (
    NO_DELIVERY_LIMIT,
    REPLIES_EXCHANGE,
    CompletionReply,
    Envelope,
    QueueType,
    WireError,
    reply_queue,
    reply_route,
)

OnUnclaimed: TypeAlias = Callable[[Reply | JobError], Awaitable[None] | None]

_WATCH_S: Final = 5.0
_LOOK_S: Final = 10.0

_log = logging.getLogger("warren")


class ReplyConsumer:
    """Consumes a client's reply queue, on one channel of its own connection; owns neither connection nor mailboxes.

    A reply is acked once it is in the mailboxes of this process, or once `on_unclaimed` has returned. One that
    cannot be read is logged, without its body, and dropped.
    """

    def __init__(
        self,
        connection: RobustConnection,
        address: Address,
        *,
        name: str,
        mailboxes: Mailboxes,
        on_unclaimed: OnUnclaimed | None,
        queue_type: QueueType = "classic",
    ) -> None:
        self._queue_type = queue_type
        self._connection = connection
        self._address = address
        self._name = name
        self._mailboxes = mailboxes
        self._on_unclaimed = on_unclaimed
        self._queue: AbstractRobustQueue | None = None
        self._consumer = ""
        self._ttl, self._prefetch = timedelta(), 0

    async def watch(self) -> None:
        """Look every few seconds whether the queue has a consumer, and consume anew when it has none.

        The library restores consumers after a reconnect, but not always: after a broker's crash a restored
        channel was seen without its consumer, and replies waited for good. Runs until cancelled.
        """
        name = reply_queue(self._address.tenant, self._name)
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                async with asyncio.timeout(_LOOK_S):
                    channel = await self._connection.channel(publisher_confirms=False)
                    try:
                        found = await channel.declare_queue(name, passive=True)
                        consumers = found.declaration_result.consumer_count
                    finally:
                        await channel.close()
                if not consumers:
                    _log.warning("%s has lost its consumer; consuming anew", name)
                    async with asyncio.timeout(_LOOK_S):
                        await self.open(ttl=self._ttl, prefetch=self._prefetch)
            except (*LOST, WarrenError, RuntimeError, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                    raise
                # Not connected, or the queue is on its way: the next look finds out. (A connection that is
                # being lost cancels what waits for it, though nobody asked for that.)
                _log.debug("the reply queue could not be looked at: %s", type(error).__name__)

    async def open(self, *, ttl: timedelta, prefetch: int) -> None:
        """Declare the queue, bind it and consume; after a lost connection the library does all three again.

        Raises:
            InvalidSetting: the queue is there with another lifetime or of another type.
            BrokerUnavailable: the broker refuses it.
        """
        queue_name = reply_queue(self._address.tenant, self._name)
        self._ttl, self._prefetch = ttl, prefetch
        try:
            channel = await self._connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=prefetch)
            queue = await channel.declare_queue(
                queue_name,
                durable=True,
                arguments=_arguments(self._queue_type, ttl),
            )
            await queue.bind(REPLIES_EXCHANGE, reply_route(self._address.tenant, self._name))
            self._consumer = await queue.consume(self._on_message)
        except ChannelPreconditionFailed:
            raise InvalidSetting(
                f"the reply queue {queue_name} exists with other settings; give the reply_queue_ttl and the reply_queue_type "
                "that it was made with, another name, or have the queue deleted"
            ) from None
        except LOST as error:
            raise unavailable(error, self._address) from error
        self._queue = queue
        if queue.declaration_result.consumer_count:
            _log.warning(
                "%s has a consumer already: two clients of one name take each other's replies",
                queue_name,
            )

    async def delete(self) -> None:
        """Delete the queue with all that is in it."""
        if self._queue is not None:
            # First the consumer: the broker would cancel it, and the library would log that as a surprise.
            await self._queue.cancel(self._consumer)
            await self._queue.delete(if_unused=False, if_empty=False)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        try:
            reply = CompletionReply.parse(_envelope(message), message.body)
        except WireError as error:
            _log.warning("dropped an unreadable reply of %d bytes: %s", len(message.body), error)
        else:
            await self._deliver(reply)
        try:
            await message.ack()
        except LOST:
            _log.debug("a reply could not be acked; it comes again and is dropped as a duplicate")

    async def _deliver(self, reply: CompletionReply) -> None:
        if self._mailboxes.put(reply):
            return
        if self._on_unclaimed is None:
            self._mailboxes.keep(reply)
            return
        try:
            await _tell(self._on_unclaimed, read(reply))
        except Exception:  # noqa: BLE001 - the user's code; the reply must survive it
            _log.exception(
                "on_unclaimed failed; submission %s is kept instead", reply.submission_id
            )
            self._mailboxes.keep(reply)
        else:
            self._mailboxes.read(reply)


def _arguments(queue_type: QueueType, ttl: timedelta) -> dict[str, str | int]:
    arguments: dict[str, str | int] = {
        "x-queue-type": queue_type,
        "x-expires": int(ttl.total_seconds() * 1000),
    }
    if queue_type == "quorum":
        arguments["x-delivery-limit"] = NO_DELIVERY_LIMIT
    return arguments


async def _tell(on_unclaimed: OnUnclaimed, heard: Reply | JobError) -> None:
    """Await a coroutine function here; run a plain one in a thread, where it may block."""
    if inspect.iscoroutinefunction(on_unclaimed):
        await on_unclaimed(heard)
    elif (rest := await asyncio.to_thread(on_unclaimed, heard)) is not None:
        await rest


def _envelope(message: AbstractIncomingMessage) -> Envelope:
    # Values of other types are left in: the contract's own check refuses them where they matter.
    headers = {
        name: value for name, value in message.headers.items() if isinstance(value, str | int)
    }
    return Envelope(
        headers=headers,
        correlation_id=message.correlation_id,
        content_type=message.content_type or "",
        kind=message.type,
    )
