"""Publishing with confirms: a submission is stored, or the caller hears why not."""

import asyncio
import logging
import re
import uuid
from dataclasses import dataclass
from typing import Final, Self

from aio_pika import DeliveryMode, Message, RobustConnection
from aio_pika.abc import AbstractExchange, AbstractRobustChannel
from aio_pika.exceptions import (
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    PublishError,
)
from aiormq.exceptions import ChannelAccessRefused

from producer_sdk.connection import LOST, Address, cancelled_from_outside, obstacle, unavailable
from producer_sdk.errors import (
    PublishRefused,
    PublishUnconfirmed,
    PublishUnsent,
    QueueFull,
    TierUnknown,
    TopologyMissing,
    WarrenError,
)
from producer_sdk.wire import (
    ASK_KEY,
    REQUESTS_EXCHANGE,
    Ask,
    CompletionRequest,
    Envelope,
    Lane,
    request_key,
)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_MAY_BE_REPEATED: Final = (*LOST, asyncio.CancelledError)
_SIZE: Final = re.compile(r"message size (\d+)")

_log = logging.getLogger("warren")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outgoing:
    """One message on its way; `tier` and `lane` are a request's, None for an ask."""

    id: str
    key: str
    envelope: Envelope
    body: bytes
    tier: str | None = None
    lane: Lane | None = None


class Publisher:
    """Publishes submissions and asks on one channel of its own connection, any number at a time.

    It owns the connection from `open()` on: `close()` closes it.
    """

    def __init__(
        self,
        connection: RobustConnection,
        address: Address,
        channel: AbstractRobustChannel,
        exchange: AbstractExchange,
    ) -> None:
        self._connection = connection
        self._address = address
        self._channel = channel
        self._exchange = exchange
        self._sending: set[asyncio.Task[object]] = set()

    @classmethod
    async def open(cls, connection: RobustConnection, address: Address) -> Self:
        """Open the channel. The exchange is taken as given: a producer may not declare it.

        Raises:
            BrokerUnavailable: the connection was lost meanwhile.
        """
        try:
            channel = connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.initialize()
            exchange = await channel.get_exchange(REQUESTS_EXCHANGE, ensure=False)
        except LOST as error:
            raise unavailable(error, address) from error
        return cls(connection, address, channel, exchange)

    async def publish(
        self, submission: CompletionRequest, *, tier: str, lane: Lane, timeout_s: float
    ) -> None:
        """Return once the broker has confirmed the submission.

        A publish whose connection or confirm is lost is repeated, with the same submission id, until `timeout_s`
        has passed: the broker may then have stored it more than once, which the worker recognises.

        Raises:
            TierUnknown, QueueFull, PublishRefused, AccessRefused, TopologyMissing: the broker said no.
            PublishUnconfirmed: it was sent and not confirmed in time, or sent again and refused.
            PublishUnsent: it could not be sent in time; nothing was stored.
        """
        outgoing = _Outgoing(
            id=submission.submission_id,
            key=request_key(tier, lane),
            envelope=submission.envelope(),
            body=submission.body,
            tier=tier,
            lane=lane,
        )
        await self._publish(outgoing, timeout_s)

    async def ask(self, ask: Ask, *, timeout_s: float) -> None:
        """Return once the broker has confirmed the ask; raises as `publish`."""
        outgoing = _Outgoing(id=ask.ask_id, key=ASK_KEY, envelope=ask.envelope(), body=b"")
        await self._publish(outgoing, timeout_s)

    async def _publish(self, outgoing: _Outgoing, timeout_s: float) -> None:
        sends = 0
        pause_s = _FIRST_PAUSE_S
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        await self._ready()
                        sends += 1
                        await self._publish_once(outgoing)
                    except _MAY_BE_REPEATED as error:
                        try:
                            self._judge(error, outgoing)
                        except (QueueFull, TierUnknown) as refusal:
                            if sends == 1:
                                raise
                            raise _unsure(refusal, outgoing, timeout_s) from None
                        _log.info(
                            "publishing submission %s again: %s",
                            outgoing.id,
                            type(error).__name__,
                        )
                    else:
                        return
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except TimeoutError:
            raise await self._timed_out(outgoing, sends, timeout_s) from None

    async def close(self) -> None:
        """Close the connection, then end what is left of abandoned publishes."""
        await self._connection.close()
        left = list(self._sending)
        for sending in left:
            sending.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _ready(self) -> None:
        """Wait until the channel is there and no alarm blocks the connection."""
        await self._channel.ready()
        if (transport := self._connection.transport) is not None:
            await transport.ready()

    async def _publish_once(self, outgoing: _Outgoing) -> None:
        """Send once and await the confirm, in a task that outlives our own cancellation.

        The library must not be cancelled here: a message that is returned after that is logged with its body
        and can take the whole connection down.
        """
        message = _message(outgoing, self._address.tenant)
        sending = asyncio.create_task(self._exchange.publish(message, outgoing.key, mandatory=True))
        self._sending.add(sending)
        sending.add_done_callback(self._sent)
        await asyncio.wait([sending])
        sending.result()

    def _sent(self, sending: asyncio.Task[object]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # retrieved, in case that nobody waits any more

    def _judge(self, error: BaseException, outgoing: _Outgoing) -> None:
        """Raise what the caller must hear; return if the publish is to be repeated.

        A refused publish closes the channel under all others that wait there, and all of them get the refusal. Of
        a message too large its text names the size; the others are repeated.
        """
        match error:
            case asyncio.CancelledError() if cancelled_from_outside():
                raise error
            case PublishError():
                # From here on no cause is chained: the returned message is part of it.
                raise _unroutable(outgoing, self._address) from None
            case DeliveryError():
                raise QueueFull(submission_id=outgoing.id, tier=outgoing.tier or ASK_KEY) from None
            case ChannelAccessRefused() | ChannelNotFoundEntity():
                raise unavailable(error, self._address) from error
            case ChannelPreconditionFailed() if _is_about(outgoing, error):
                raise PublishRefused(
                    f"submission {outgoing.id} is refused by the broker: {error}. Nothing was stored",
                    submission_id=outgoing.id,
                ) from error
            case _:
                return

    async def _timed_out(self, outgoing: _Outgoing, sends: int, timeout_s: float) -> WarrenError:
        why = await obstacle(self._connection)
        if sends:
            return PublishUnconfirmed(
                submission_id=outgoing.id, publish_timeout_s=timeout_s, obstacle=why
            )
        return PublishUnsent(submission_id=outgoing.id, publish_timeout_s=timeout_s, obstacle=why)


def _unsure(refusal: WarrenError, outgoing: _Outgoing, timeout_s: float) -> PublishUnconfirmed:
    """Give what a refusal means when an earlier send of the same has been lost with its confirm."""
    found = "found its queue full" if isinstance(refusal, QueueFull) else "was returned: no queue"
    return PublishUnconfirmed(
        submission_id=outgoing.id,
        publish_timeout_s=timeout_s,
        obstacle=f"the confirm of an earlier send was lost, and the last one {found}",
    )


def _unroutable(outgoing: _Outgoing, address: Address) -> WarrenError:
    if outgoing.tier is None or outgoing.lane is None:
        return TopologyMissing(
            f"no queue of the broker at {address.where} takes asks; load rabbitmq/definitions.json into it"
        )
    return TierUnknown(submission_id=outgoing.id, tier=outgoing.tier, lane=outgoing.lane)


def _is_about(outgoing: _Outgoing, error: ChannelPreconditionFailed) -> bool:
    """Tell whether a refusal is about this message: it names a size, and it is ours, or it names none."""
    named = _SIZE.search(str(error))
    return named is None or int(named[1]) == len(outgoing.body)


def _message(outgoing: _Outgoing, tenant: str) -> Message:
    """Give the library's message; each has a fresh id, by which returned messages are matched."""
    envelope = outgoing.envelope
    return Message(
        outgoing.body,
        headers=dict(envelope.headers),
        content_type=envelope.content_type,
        delivery_mode=DeliveryMode.PERSISTENT,
        priority=envelope.priority,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        expiration=envelope.expiration,
        timestamp=envelope.at,
        message_id=uuid.uuid4().hex,
        type=envelope.kind,
        user_id=tenant,
    )
