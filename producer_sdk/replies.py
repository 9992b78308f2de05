"""The callback queue: replies come in here and go to whoever waits for them."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from aio_pika import RobustConnection
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustQueue
from aio_pika.exceptions import ChannelPreconditionFailed

from producer_sdk.connection import LOST, Address, unavailable
from producer_sdk.errors import InvalidSetting, JobError
from producer_sdk.reply import Reply, read
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import (
    REPLIES_EXCHANGE,
    CompletionReply,
    Envelope,
    WireError,
    reply_queue,
    reply_route,
)

OnUnclaimed: TypeAlias = Callable[[Reply | JobError], Awaitable[None]]

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
    ) -> None:
        self._connection = connection
        self._address = address
        self._name = name
        self._mailboxes = mailboxes
        self._on_unclaimed = on_unclaimed
        self._queue: AbstractRobustQueue | None = None
        self._consumer = ""

    async def open(self, *, ttl: timedelta, prefetch: int) -> None:
        """Declare the queue, bind it and consume; after a lost connection the library does all three again.

        Raises:
            InvalidSetting: the queue is there with another lifetime.
            BrokerUnavailable: the broker refuses it.
        """
        queue_name = reply_queue(self._address.tenant, self._name)
        try:
            channel = await self._connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=prefetch)
            queue = await channel.declare_queue(
                queue_name,
                durable=True,
                arguments={
                    "x-queue-type": "classic",
                    "x-expires": int(ttl.total_seconds() * 1000),
                },
            )
            await queue.bind(REPLIES_EXCHANGE, reply_route(self._address.tenant, self._name))
            self._consumer = await queue.consume(self._on_message)
        except ChannelPreconditionFailed:
            raise InvalidSetting(
                f"the reply queue {queue_name} exists with other settings; give the reply_queue_ttl that it was "
                "made with, another name, or have the queue deleted"
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
            await self._on_unclaimed(read(reply))
        except Exception:  # noqa: BLE001 - the user's code; the reply must survive it
            _log.exception(
                "on_unclaimed failed; submission %s is kept instead", reply.submission_id
            )
            self._mailboxes.keep(reply)
        else:
            self._mailboxes.read(reply)


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
