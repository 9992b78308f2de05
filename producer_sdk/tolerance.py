"""Keeps a message that the AMQP library cannot decode from killing the connection.

The broker passes on properties that the library's decoder raises at: instants beyond the year 9999, short
strings that are not UTF-8, tables nested hundreds deep; and some that it decodes for most of a second: tables of
ten thousand values. The library gives up the connection over the first kind; the broker delivers the message
again on the next one, and so on without end. So the frames are looked at before the library gets them, and
properties that it could not bear are left out, marked by a header, `UNDECODABLE`: whoever reads the message finds
it, and the message is treated like any other that cannot be read.

Every message carries the bytes that its properties came as, in a header that nobody sent: `WIRE`. So whoever sets
a message aside can keep what it really was, whatever became of it in decoding.

Both sides of the wire read through this module.
"""

import asyncio
import struct
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from aiormq.connection import SSLContextProvider, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

# Is told of a frame's kind and payload, as they came, and says whether it took the frame: the library never sees it then.
# It must not raise.
Taker: TypeAlias = Callable[[int, bytes], bool]

# The payload of the content header's frame: class, weight, size of the body, flags, properties.
WIRE: Final = "x-warren-wire"
# There, and true, if the properties could not be decoded.
UNDECODABLE: Final = "x-warren-undecodable"

# A frame: type, channel and length, then so many bytes, then an end mark.
HEAD: Final = struct.Struct(">BHI")
METHOD, CONTENT_HEADER, CONTENT_BODY = 1, 2, 3
END: Final = 0xCE
_AROUND: Final = HEAD.size + 1
_PROTOCOL: Final = b"AMQP"
_HEARTBEAT: Final = HEAD.pack(8, 0, 0) + bytes([END])
# Seconds, far fewer than any heartbeat: what the library is not shown is a sign of life all the same.
_SIGN_OF_LIFE_S: Final = 1.0
# Class and method of what comes before a message that was consumed or fetched.
DELIVER: Final = struct.pack(">HH", 60, 60)
GET_OK: Final = struct.pack(">HH", 60, 71)
_TAG_AND_FLAG: Final = 9
_FLAGS_AT: Final = 12
_PROPERTIES_AT: Final = 14
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _MORE_FLAGS = 1 << 15, 1 << 14, 1 << 13, 1
# Deep enough for what the broker itself adds (`x-death`: a list of tables), far from any stack's end.
_MAX_DEPTH: Final = 8
# Values in all tables of a message. The library copies the rest of the frame at each.
_MAX_VALUES: Final = 512
_SIZES: Final = MappingProxyType(
    dict(zip(b"tbBsuIilLfdDTV", (1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 5, 8, 0), strict=True))
)
_TABLE, _ARRAY = b"FA"
_OF_A_LENGTH: Final = b"SxFA"


class TolerantTransport(TransportFactory):
    """Connects like the library, plain or with TLS, with a `TolerantProtocol` in between.

    `takers` are asked first, by the number of their channel; they may come and go while the connection stands.
    """

    def __init__(self, takers: Mapping[int, Taker] | None = None) -> None:
        self._takers: Mapping[int, Taker] = {} if takers is None else takers

    async def create(self, url: URL, **kwargs: object) -> tuple[StreamReader, StreamWriter]:
        """Connect and give what the library reads from and writes to."""
        loop = asyncio.get_running_loop()
        provider = cast("SSLContextProvider", kwargs.pop("ssl_context_provider"))
        tls = await provider.get_context() if url.scheme == "amqps" else None
        reader = StreamReader(loop=loop)
        protocol = TolerantProtocol(reader, self._takers)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, url.host or "", url.port or 0, ssl=tls, **cast("Any", kwargs)
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return reader, StreamWriter(transport, protocol, reader, loop)


class TolerantProtocol(StreamReaderProtocol):
    """Cuts what is read into frames, and feeds a reader with those that no taker takes, made decodable."""

    def __init__(self, reader: StreamReader, takers: Mapping[int, Taker]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(reader, loop=loop)
        self._reader = reader
        self._takers = takers
        self._time = loop.time
        self._told_at = self._time()
        self._began = False
        # The beginning of a frame whose end has not come, and how long the frame is, or at least is.
        self._rest = bytearray()
        self._wanted = 0

    def data_received(self, data: bytes) -> None:
        """Take what was read: all whole frames at once, in their order."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._wanted:
                return
            data = bytes(rest)
            rest.clear()
        at, size, takers, took = 0, len(data), self._takers, False
        while size - at >= _AROUND:
            if not self._began:
                if data.startswith(
                    _PROTOCOL
                ):  # the broker speaks another version: the library says so
                    self._reader.feed_data(data)
                    return
                self._began = True
            kind, channel, length = HEAD.unpack_from(data, at)
            end = at + length + _AROUND
            if end > size:
                self._wanted = end - at
                break
            payload = data[at + HEAD.size : end - 1]
            taker = takers.get(channel)
            if taker is not None and data[end - 1] == END and taker(kind, payload):
                took = True
            else:
                self._feed(data[at:end], kind, payload)
            at = end
        else:
            self._wanted = _AROUND
        if at < size:
            rest += data[at:]
        if took:
            self._live()

    def eof_received(self) -> bool | None:
        """Hand on what is left, so that the library sees where it broke off."""
        self._reader.feed_data(bytes(self._rest))
        self._rest.clear()
        return super().eof_received()

    def _feed(self, frame: bytes, kind: int, payload: bytes) -> None:
        """Let the library have a frame, so that it can decode it."""
        self._told_at = self._time()
        made = payload
        try:
            if kind == CONTENT_HEADER:
                made = decodable(payload)
            elif kind == METHOD and payload.startswith((DELIVER, GET_OK)):
                made = readable(payload)
        except (IndexError, struct.error):
            pass  # too short for what it says it is: the library says so
        if made is not payload:
            frame = frame[:3] + struct.pack(">I", len(made)) + made + frame[-1:]
        self._reader.feed_data(frame)

    def _live(self) -> None:
        """Show the library that the broker lives, when all that came was taken."""
        now = self._time()
        if now - self._told_at >= _SIGN_OF_LIFE_S:
            self._told_at = now
            self._reader.feed_data(_HEARTBEAT)


def decodable(payload: bytes) -> bytes:
    """Give a content header's payload as the library is to have it, and can: it is decoded here once, to be sure."""
    try:
        if _bearable(payload):
            made = _with_wire(payload)
            ContentHeader().unmarshal(made)
            return made
    except Exception:  # noqa: BLE001, S110  # whatever the decoder raises here, it would raise in the library
        pass
    return _replaced(payload)


def _table_at(payload: bytes) -> int:
    """Give where the headers' table begins, or would."""
    (flags,) = struct.unpack_from(">H", payload, _FLAGS_AT)
    at = _PROPERTIES_AT
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag:
            at += 1 + payload[at]
    return at


def _bearable(payload: bytes) -> bool:
    """Tell whether the tables are whole, and neither deep nor long, without decoding a value."""
    (flags,) = struct.unpack_from(">H", payload, _FLAGS_AT)
    if flags & _MORE_FLAGS:
        return False
    if not flags & _HEADERS:
        return True
    at, values = _table_at(payload), 0
    left = [(at + 4, _after(payload, at), True, 0)]
    while left:
        at, end, named, depth = left.pop()
        while at < end:
            values += 1
            if named:
                at += 1 + payload[at]
            kind, inside = payload[at], at + 5
            at = _behind(payload, at)
            if kind in {_TABLE, _ARRAY}:
                left.append((inside, at, kind == _TABLE, depth + 1))
            if values > _MAX_VALUES or depth > _MAX_DEPTH:
                return False
        if at != end:  # the last value is longer than its table
            return False
    return True


def _behind(payload: bytes, at: int) -> int:
    """Give where a value ends whose type stands here."""
    kind = payload[at]
    return _after(payload, at + 1) if kind in _OF_A_LENGTH else at + 1 + _SIZES[kind]


def _after(payload: bytes, at: int) -> int:
    """Give where that ends which has its length in front."""
    length: int = struct.unpack_from(">I", payload, at)[0]
    return at + 4 + length


def _with_wire(payload: bytes) -> bytes:
    """Give the payload with itself as one more header, behind all others: the last of a name counts."""
    (flags,) = struct.unpack_from(">H", payload, _FLAGS_AT)
    at, name = _table_at(payload), WIRE.encode()
    field = bytes([len(name)]) + name + b"x" + struct.pack(">I", len(payload)) + payload
    if flags & _HEADERS:
        end = _after(payload, at)
        table = payload[at + 4 : end] + field
    else:
        end, table = at, field
    return b"".join(
        (
            payload[:_FLAGS_AT],
            struct.pack(">H", flags | _HEADERS),
            payload[_PROPERTIES_AT:at],
            struct.pack(">I", len(table)),
            table,
            payload[end:],
        )
    )


def _replaced(payload: bytes) -> bytes:
    """Give the payload with a mark and its own bytes as headers instead of its properties."""
    body_size = struct.unpack_from(">Q", payload, 4)[0]
    properties = Basic.Properties(headers={UNDECODABLE: True, WIRE: bytearray(payload)})
    replaced: bytes = ContentHeader(body_size=body_size, properties=properties).marshal()
    return replaced


def readable(payload: bytes) -> bytes:
    """Give the payload of DELIVER or GET_OK with names in UTF-8: a producer chooses the routing key, whatever its bytes."""
    at = 4
    if payload.startswith(DELIVER):
        at += 1 + payload[at]
    at += _TAG_AND_FLAG
    exchange = payload[at + 1 : at + 1 + payload[at]]
    key_at = at + 1 + len(exchange)
    key = payload[key_at + 1 : key_at + 1 + payload[key_at]]
    try:
        exchange.decode()
        key.decode()
    except UnicodeDecodeError:
        after = payload[key_at + 1 + len(key) :]
        return payload[:at] + _shown(exchange) + _shown(key) + after
    return payload


def _shown(name: bytes) -> bytes:
    """Encode a name with a question mark for what is not UTF-8; it never grows."""
    shown = name.decode(errors="replace").replace("\N{REPLACEMENT CHARACTER}", "?").encode()
    return bytes([len(shown)]) + shown
