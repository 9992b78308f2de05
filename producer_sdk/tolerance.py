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
from asyncio import StreamReader, StreamWriter
from types import MappingProxyType
from typing import Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

# The payload of the content header's frame: class, weight, size of the body, flags, properties.
WIRE: Final = "x-warren-wire"
# There, and true, if the properties could not be decoded.
UNDECODABLE: Final = "x-warren-undecodable"

# A frame: type, channel and length, then so many bytes, then an end mark.
_HEAD: Final = struct.Struct(">BHI")
_METHOD: Final = 1
_CONTENT_HEADER: Final = 2
_PROTOCOL: Final = b"AMQP"
# Class and method of what comes before a message that was consumed or fetched.
_DELIVER: Final = struct.pack(">HH", 60, 60)
_GET_OK: Final = struct.pack(">HH", 60, 71)
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
    """Connects like the library, plain or with TLS, with a `TolerantReader` in between."""

    async def create(self, url: URL, **kwargs: object) -> tuple[StreamReader, StreamWriter]:
        """Connect and give what the library reads from and writes to."""
        plain = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await plain.create(url, **kwargs)
        return TolerantReader(reader), writer


class TolerantReader(StreamReader):
    """Reads whole frames from another reader and hands them on piecemeal, made decodable."""

    def __init__(self, source: StreamReader) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._source = source
        self._frame = b""
        self._position = 0

    def at_eof(self) -> bool:
        """Tell whether nothing more will come."""
        return self._position == len(self._frame) and self._source.at_eof()

    async def readexactly(self, n: int) -> bytes:
        """Give the next `n` bytes; a piece never spans two frames."""
        if self._position == len(self._frame):
            self._frame = await self._next()
            self._position = 0
        start = self._position
        self._position = min(start + n, len(self._frame))
        return self._frame[start : self._position]

    async def _next(self) -> bytes:
        head = await self._source.readexactly(_HEAD.size)
        if head.startswith(_PROTOCOL):  # the broker speaks another version: the library says so
            return head
        kind, channel, length = _HEAD.unpack(head)
        rest = await self._source.readexactly(length + 1)
        if kind == _CONTENT_HEADER:
            made = _made_decodable(rest[:-1])
        elif kind == _METHOD and rest.startswith((_DELIVER, _GET_OK)):
            made = _readable(rest[:-1])
        else:
            return head + rest
        return _HEAD.pack(kind, channel, len(made)) + made + rest[-1:]


def _made_decodable(payload: bytes) -> bytes:
    """Give the payload as the library is to have it, and can: it is decoded here once, to be sure."""
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


def _readable(payload: bytes) -> bytes:
    """Give the method with names that are UTF-8: a producer chooses the routing key, whatever its bytes."""
    at = 4
    if payload.startswith(_DELIVER):
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
