"""Keeps a message that the AMQP library cannot decode from killing the connection.

The broker passes on properties that the library's decoder raises at: instants beyond the year 9999, short
strings that are not UTF-8, tables nested hundreds deep. The library gives up the connection then; the broker
delivers the message again on the next one, and so on without end. So the frames are looked at before the
library gets them, and properties that it could not bear are replaced by a single header, `UNDECODABLE`, that
holds their bytes: the codec finds it, and the message is set aside like any other that cannot be read.
"""

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from typing import Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

from worker.broker import names

# A frame: type, channel and length, then so many bytes, then an end mark.
_HEAD: Final = struct.Struct(">BHI")
_CONTENT_HEADER: Final = 2
_PROTOCOL: Final = b"AMQP"
# Deep enough for what the broker itself adds (`x-death`: a list of tables), far from any stack's end.
_MAX_DEPTH: Final = 8
# Bytes kept of properties that cannot be decoded; with them the frame stays below any frame limit.
_KEPT: Final = 8 * 1024


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
        if kind == _CONTENT_HEADER and not _decodable(rest[:-1]):
            return _replaced(channel, rest[:-1]) + rest[-1:]
        return head + rest


def _decodable(payload: bytes) -> bool:
    header = ContentHeader()
    try:
        header.unmarshal(payload)
    except Exception:  # noqa: BLE001  # whatever the decoder raises here, it would raise in the library
        return False
    headers = header.properties.headers
    return headers is None or all(
        _depth_fits(value, _MAX_DEPTH) for value in headers.values() if type(value) in {dict, list}
    )


def _depth_fits(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        inner: list[object] = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return True
    return depth > 0 and all(_depth_fits(child, depth - 1) for child in inner)


def _replaced(channel: int, payload: bytes) -> bytes:
    """Give the frame, without its end, with one header instead of its properties."""
    body_size = struct.unpack_from(">Q", payload, 4)[0]
    kept = bytearray(payload[12 : 12 + _KEPT])
    properties = Basic.Properties(headers={names.UNDECODABLE: kept})
    replaced: bytes = ContentHeader(body_size=body_size, properties=properties).marshal()
    return _HEAD.pack(_CONTENT_HEADER, channel, len(replaced)) + replaced
