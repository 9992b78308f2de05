"""Connections and channels of the AMQP library on which the frames of every job pass the library by.

What every job needs is done here at once, on the socket's own callback: a delivery is handed over, a confirm noted, and
a publish or an ack written at the end of the loop's turn, without a queue, a task or a future of the library's in between.
All else is the library's: to connect, heartbeats, alarms, to open, consume, cancel, fetch and close.
"""

import asyncio
import secrets
import sys
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Final, cast

from aiormq.abc import ArgumentsType, ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from aiormq.connection import Connection
from aiormq.exceptions import ChannelInvalidStateError, DeliveryError
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.header import ContentHeader
from yarl import URL

from producer_sdk.tolerance import (
    CONTENT_HEADER,
    DELIVER,
    METHOD,
    Taker,
    TolerantTransport,
    decodable,
    readable,
)
from producer_sdk.wire import Envelope
from worker.broker import frames
from worker.broker.incoming import Incoming

# Frames that a channel holds before its connection stops reading.
_FRAME_BUFFER: Final = 256
_SIZE: Final = slice(4, 12)
_OF_CONTENT: Final = frozenset({DELIVER, frames.RETURN})
_CONFIRMS: Final = frozenset({frames.ACK, frames.NACK})


class Fetched:
    """A message that the library decoded, since it was asked for."""

    __slots__ = ("_message", "body", "tag")

    def __init__(self, message: DeliveredMessage) -> None:
        self._message = message
        self.body = message.body
        self.tag = message.delivery_tag or 0  # every message that was handed out has one

    def incoming(self) -> Incoming:
        """Give its parts."""
        return Incoming.of(self._message)

    def decoded(self) -> DeliveredMessage:
        """Give all of it."""
        return self._message


class Pushed:
    """A message that the broker sent to a consumer: decoded as far as it is asked for."""

    __slots__ = ("_channel", "_header", "_method", "body", "exchange", "tag")

    def __init__(self, channel: Channel, method: bytes, header: bytes, body: bytes) -> None:
        self._channel = channel
        self._method = method
        self._header = header
        self.body = body
        self.tag, self.exchange = frames.delivery(method)

    def incoming(self) -> Incoming:
        """Give its parts."""
        said = frames.properties(self._header)
        if said is None or self.exchange is None:
            return Incoming.of(self.decoded())
        return Incoming(
            exchange=self.exchange,
            body=self.body,
            headers=said.headers,
            user_id=said.user_id,
            correlation_id=said.correlation_id,
            reply_to=said.reply_to,
            priority=said.priority,
        )

    def decoded(self) -> DeliveredMessage:
        """Give all of it, as the library would, behind the tolerant reader."""
        method = Basic.Deliver()
        method.unmarshal(readable(self._method)[4:])
        return DeliveredMessage(method, _decoded(self._header), self.body, self._channel)


Message = Fetched | Pushed


class DirectChannel(Channel):
    """A channel whose deliveries, acks, publishes and confirms pass the library by.

    `ended`: nothing more can be done on it. It is so as soon as either side has said that it closes the channel, and
    never later: what is written on a channel that the broker knows no more costs the whole connection.
    """

    connection: "DirectConnection"

    def __init__(self, connection: "DirectConnection", number: int, *, confirms: bool) -> None:
        super().__init__(
            connection,
            number,
            publisher_confirms=confirms,
            frame_buffer=_FRAME_BUFFER,
            on_return_raises=confirms,
        )
        self.ended = False
        self._take: Callable[[Message], None] | None = None
        self._tag = 0
        # The broker may set no bound to a frame's size.
        self._most = max(self.max_content_size, 0) or sys.maxsize
        self._unconfirmed: dict[int, asyncio.Future[bool]] = {}
        # The broker returns a message without its tag; so its id has it, behind what no other channel's ids begin with.
        self._id_prefix = f"{secrets.token_hex(8)}-"
        # The message of which not all frames have come.
        self._method = b""
        self._header = b""
        self._body: list[bytes] = []
        self._missing = 0
        self.write_queue = cast("Queue[ChannelFrame]", _Watched(self.write_queue, self._end))
        connection.takers[number] = self._take_frame
        self.closing.add_done_callback(self._on_closed)

    async def consume(
        self, queue: str, take: Callable[[Message], None], *, arguments: ArgumentsType | None = None
    ) -> str:
        """Start the channel's one consumer; give its tag. `take` is called for each delivery, and must not raise.

        The first deliveries may be here before the library has said that the consumer stands: they are kept till then.
        """
        early: list[Message] = []
        self._take = early.append
        answer = await self.basic_consume(queue, _never, arguments=arguments)
        self._take = take
        for message in early:
            take(message)
        return answer.consumer_tag or ""

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery.

        Raises:
            An error of which `is_loss` is true: the channel is lost.
        """
        if self.ended:
            raise ChannelInvalidStateError("the channel is closed")
        self.connection.write(frames.acked(self.number, tag))

    def publish(
        self, exchange: str, routing_key: str, envelope: Envelope, body: bytes
    ) -> "asyncio.Future[bool]":
        """Write a message; the future tells whether it is stored in a queue, once the broker has said so.

        It fails with `DeliveryError` when the broker refuses the message, else with what the channel ended with.

        Raises:
            An error of which `is_loss` is true: the channel is lost, and nothing was written.
        """
        if self.ended:
            raise ChannelInvalidStateError("the channel is closed")
        tag = self._tag + 1
        written = frames.published(
            self.number,
            envelope,
            body,
            exchange=exchange,
            routing_key=routing_key,
            message_id=f"{self._id_prefix}{tag:x}",
            most=self._most,
        )
        self.connection.write(written)
        self._tag = tag
        stored: asyncio.Future[bool] = self.loop.create_future()
        self._unconfirmed[tag] = stored
        return stored

    def _take_frame(self, kind: int, payload: bytes) -> bool:
        if kind == METHOD:
            return self._take_method(payload)
        if not self._method:
            return False
        if kind == CONTENT_HEADER:
            self._header = payload
            self._missing = int.from_bytes(payload[_SIZE], "big")
        else:
            self._missing -= len(payload)
            self._body.append(payload)
        if self._missing <= 0:
            self._take_message()
        return True

    def _take_method(self, payload: bytes) -> bool:
        name = payload[:4]
        if name in _OF_CONTENT:
            self._method = payload
        elif name in _CONFIRMS:
            self._confirm(payload, stored=name == frames.ACK)
        else:
            if name == frames.CLOSE:
                self._end()
            return False
        return True

    def _take_message(self) -> None:
        method, pieces = self._method, self._body
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._method, self._body = b"", []
        if not method.startswith(DELIVER):
            self._on_returned()
        elif self._take is not None and not self.ended:
            self._take(Pushed(self, method, self._header, body))

    def _confirm(self, payload: bytes, *, stored: bool) -> None:
        tag, multiple = frames.confirmed(payload)
        unconfirmed = self._unconfirmed
        for each in [one for one in unconfirmed if one <= tag] if multiple else (tag,):
            future = unconfirmed.pop(each, None)
            if future is None or future.done():  # given up, or returned before
                continue
            if stored:
                future.set_result(True)
            else:
                future.set_exception(DeliveryError(None, Basic.Nack(delivery_tag=each)))

    def _on_returned(self) -> None:
        """Note that no queue took a message; its ack comes after this."""
        # Whatever the broker added: a message that is not known to be returned would count as stored.
        said = frames.properties(self._header) or _decoded(self._header).properties
        prefix, _, tag = (said.message_id or "").partition("-")
        future = self._unconfirmed.get(int(tag, 16)) if f"{prefix}-" == self._id_prefix else None
        if future is not None and not future.done():
            future.set_result(False)

    def _end(self) -> None:
        self.connection.flush()  # what was written before the close comes before it
        self.ended = True

    def _on_closed(self, closing: "asyncio.Future[Any]") -> None:
        self._end()
        error = None if closing.cancelled() else closing.exception()
        if error is None or isinstance(error, asyncio.CancelledError):
            error = ConnectionResetError("the connection was given up")
        for future in self._unconfirmed.values():
            if not future.done():
                future.set_exception(error)
        self._unconfirmed.clear()


class DirectConnection(Connection):
    """A connection whose channels are `DirectChannel`s. `blocked`: an alarm of the broker lets nothing be published."""

    def __init__(
        self, url: URL, *, context: SSLContext | None, client_properties: FieldTable
    ) -> None:
        self.takers: dict[int, Taker] = {0: self._look}
        self.blocked = False
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._unwritten: list[bytes] = []
        self._transport = _Transport(self.takers)
        super().__init__(
            url,
            context=context,
            transport_factory=self._transport,
            client_properties=client_properties,
        )
        self.closing.add_done_callback(lambda _: self._unblocked.set())

    async def ready(self) -> None:
        """Return once no alarm blocks it, or it is closed: the library would wait on for the end of the alarm."""
        await self.connected.wait()
        await self._unblocked.wait()

    def abort(self) -> None:
        """Drop the socket at once, with all that is still to be written."""
        if self._transport.socket is not None:
            self._transport.socket.abort()

    def write(self, data: bytes) -> None:
        """Write whole frames when this turn of the event loop ends, together with all others of the turn.

        Else each would be a system call, and as often the broker would be woken.

        Raises:
            ConnectionResetError: the socket is closed; nothing was written.
        """
        socket = self._transport.socket
        if socket is None or socket.is_closing():
            raise ConnectionResetError("the connection is closed")
        if not self._unwritten:
            self.loop.call_soon(self.flush)
        self._unwritten.append(data)

    def flush(self) -> None:
        """Write now what waits for the end of the turn; on a socket that is closed by now it is lost."""
        written, self._unwritten = self._unwritten, []
        socket = self._transport.socket
        if written and socket is not None and not socket.is_closing():
            socket.writelines(written)

    async def open_channel(self, *, confirms: bool) -> DirectChannel:
        """Open a channel, with a number that is free.

        Raises:
            RuntimeError: the connection is closed.
        """
        await self.connected.wait()
        if self.is_closed:
            raise RuntimeError("the connection is closed")
        number = 1
        while number in self.channels:
            number += 1
        channel = DirectChannel(self, number, confirms=confirms)
        self.channels[number] = channel
        await channel.open()
        return channel

    def _look(self, kind: int, payload: bytes) -> bool:
        """Note an alarm and its end, which the library has to see as well."""
        if kind == METHOD and payload.startswith((frames.BLOCKED, frames.UNBLOCKED)):
            self.blocked = payload.startswith(frames.BLOCKED)
            if self.blocked:
                self._unblocked.clear()
            else:
                self._unblocked.set()
        return False


class _Transport(TolerantTransport):
    """Keeps the socket that it opens."""

    socket: asyncio.WriteTransport | None = None

    async def create(self, url: URL, **kwargs: object) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await super().create(url, **kwargs)
        self.socket = writer.transport
        return reader, writer


class _Watched:
    """What a channel has its library write, looked through for the channel's end."""

    def __init__(self, queue: "Queue[ChannelFrame]", end: Callable[[], None]) -> None:
        self._queue = queue
        self._end = end

    async def put(self, frame: ChannelFrame) -> None:
        self._look(frame)
        await self._queue.put(frame)

    def put_nowait(self, frame: ChannelFrame) -> None:
        self._look(frame)
        self._queue.put_nowait(frame)

    def _look(self, frame: ChannelFrame) -> None:
        if frame.payload.startswith((frames.CLOSE, frames.CLOSE_OK), frames.AROUND - 1):
            self._end()


def _decoded(payload: bytes) -> ContentHeader:
    """Give a content header as the library would, behind the tolerant reader."""
    header = ContentHeader()
    header.unmarshal(decodable(payload))
    return header


async def _never(_: DeliveredMessage) -> None:
    """Be the library's consumer, which hears nothing: its deliveries are taken before."""
