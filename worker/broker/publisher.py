"""Publishes until the broker has confirmed."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from aiormq.exceptions import ChannelPreconditionFailed, DeliveryError

from producer_sdk.wire import Envelope
from worker.broker.address import describe, is_loss
from worker.broker.channels import DirectChannel
from worker.broker.connection import Link
from worker.broker.trouble import Troubles
from worker.core.events import Step
from worker.errors import TopologyError

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_LONGEST_TIMEOUT_S: Final = 300.0
_TOO_LARGE: Final = re.compile(r"message size \d+ is larger than configured max size (\d+)")


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The message is stored in at least one queue."""


@dataclass(frozen=True, slots=True)
class Unroutable:
    """No queue takes messages with this routing key; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker refused it as often as the caller bears (a queue is full), or for good (it is too large)."""


Published: TypeAlias = Confirmed | Unroutable | Refused
CONFIRMED: Final = Confirmed()
UNROUTABLE: Final = Unroutable()
Tell: TypeAlias = Callable[[Step], None]


class Publisher:
    """Publishes on one link, any number of messages at a time, each with a confirm of its own.

    Every exchange has a channel of its own: a refusal closes a channel under all who wait there, and a
    missing exchange for dead letters must not hold up the replies.
    """

    def __init__(
        self, link: Link, troubles: Troubles, *, timeout: timedelta = timedelta(seconds=10)
    ) -> None:
        self._link = link
        self._troubles = troubles
        self._timeout_s = timeout.total_seconds()
        self._channels: dict[str, DirectChannel] = {}
        self._opening: dict[str, asyncio.Event] = {}

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        envelope: Envelope,
        body: bytes,
        *,
        reached: Tell | None = None,
        most_refusals: int | None = None,
    ) -> Published:
        """Return once the broker has confirmed the message, or says that no queue takes it.

        A lost connection, a missing exchange, a full queue or a confirm that does not come in time is told
        as trouble, and the publish repeated after a pause, until it is done or cancelled, or was refused
        `most_refusals` times. A repeated publish may store the message twice; each has twice the time of the
        one before, so that a slow broker is not buried under copies.

        `reached` hears `PUBLISHED` about when the message is first written to the connection, and
        `CONFIRMED`.
        """
        published = None if reached is None else _Once(reached)
        pause_s, timeout_s, refusals = _FIRST_PAUSE_S, self._timeout_s, 0
        while True:
            try:
                stored = await self._publish_once(
                    exchange, routing_key, envelope, body, timeout_s=timeout_s, published=published
                )
            except (Exception, asyncio.CancelledError) as error:
                if not is_loss(error):  # a TimeoutError is an OSError
                    raise
                self._troubles.tell("publish", exchange, _why(error))
                refusals += isinstance(error, DeliveryError)
                if most_refusals is not None and (
                    refusals >= most_refusals or _is_too_large(error, body)
                ):
                    return Refused()
                timeout_s = min(2 * timeout_s, _LONGEST_TIMEOUT_S)
            else:
                if not stored:
                    return UNROUTABLE
                if published is not None:
                    published.tell(Step.CONFIRMED)
                return CONFIRMED
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def publish_routed(
        self,
        exchange: str,
        routing_key: str,
        envelope: Envelope,
        body: bytes,
        *,
        reached: Tell | None = None,
    ) -> None:
        """Return once the broker has confirmed that the message is in a queue.

        As `publish`, and a missing queue is told and tried again like everything else.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            match await self.publish(exchange, routing_key, envelope, body, reached=reached):
                case Confirmed() | Refused():
                    return
                case Unroutable():
                    error = TopologyError(
                        f"no queue takes {routing_key!r} from {exchange}; `warren topology check` tells what "
                        "is missing. It is tried again until there is one"
                    )
                    self._troubles.tell("publish", f"{exchange} {routing_key}", str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _publish_once(
        self,
        exchange: str,
        routing_key: str,
        envelope: Envelope,
        body: bytes,
        *,
        timeout_s: float,
        published: "_Once | None",
    ) -> bool:
        """Publish, and tell whether the message is stored in a queue."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        channel = self._channels.get(exchange)
        if channel is None or channel.ended or channel.connection.blocked:
            async with asyncio.timeout_at(until):
                channel = await self._channel(exchange)
        stored = channel.publish(exchange, routing_key, envelope, body)
        if published is not None:
            published.soon()
        timer = loop.call_at(until, _expire, stored)
        try:
            return await stored
        finally:
            timer.cancel()

    async def _channel(self, exchange: str) -> DirectChannel:
        """Give the exchange's channel, once no alarm blocks its connection.

        While one does, publishing would only pile up copies that are all stored in the end.
        """
        while (channel := self._channels.get(exchange)) is None or channel.ended:
            if (opening := self._opening.get(exchange)) is None:
                await self._open(exchange)
            else:
                # All go on in one turn, and not one after the other: after a loss every job in flight may wait here.
                await opening.wait()
        await channel.connection.ready()
        return channel

    async def _open(self, exchange: str) -> None:
        """Open the exchange's channel. Where that fails, each who waited for it tries again in turn."""
        opening = self._opening[exchange] = asyncio.Event()
        try:
            self._channels[exchange] = await self._link.channel(confirms=True)
        finally:
            del self._opening[exchange]
            opening.set()


class _Once:
    """Tells `PUBLISHED` once, in the turn of the event loop after the one that writes the message."""

    __slots__ = ("_reached", "_told")

    def __init__(self, reached: Tell) -> None:
        self._reached = reached
        self._told = False

    def soon(self) -> None:
        if not self._told:
            asyncio.get_running_loop().call_soon(self.tell)

    def tell(self, then: Step | None = None) -> None:
        if not self._told:
            self._told = True
            self._reached(Step.PUBLISHED)
        if then is not None:
            self._reached(then)


def _expire(stored: "asyncio.Future[bool]") -> None:
    if not stored.done():
        stored.set_exception(TimeoutError())


def _is_too_large(error: BaseException, body: bytes) -> bool:
    """Tell whether it was this message that the broker found too large.

    It closes the channel with that, under all that wait there: their own size says whose fault it was.
    """
    bound = _TOO_LARGE.search(str(error)) if isinstance(error, ChannelPreconditionFailed) else None
    return bound is not None and len(body) > int(bound[1])


def _why(error: BaseException) -> str:
    if isinstance(error, DeliveryError):
        reason = "the broker refuses the message: a queue is full"
    else:
        reason = describe(error)
    return f"{reason}; it is published again until it is confirmed"
