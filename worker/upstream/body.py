"""Reads a body under a byte cap, counted after unpacking, so that a decompression bomb ends early."""

import zlib
from typing import Final

import httpx

ENCODINGS: Final = "gzip"
"""What `accept-encoding` may offer: what can be unpacked here piece by piece, under the cap."""

_GZIP: Final = zlib.MAX_WBITS | 16


class TooLarge(Exception):  # noqa: N818  # names the body, not a failure of ours
    """The body has more bytes than the cap allows; no more than the cap was ever kept."""


class Undecodable(Exception):  # noqa: N818  # see TooLarge
    """The body is packed in a way that was not asked for, or its packing is damaged or cut short."""


async def read(response: httpx.Response, *, limit: int) -> bytes:
    """Give the unpacked body, at most `limit` bytes of it. Does not close the response.

    Raises:
        TooLarge, Undecodable: as they say.
        httpx.TransportError: the connection failed on the way.
    """
    match response.headers.get("content-encoding", "identity").strip().lower():
        case "" | "identity":
            return await _plain(response, limit)
        case "gzip" | "x-gzip":
            return await _gzip(response, limit)
        case _:
            raise Undecodable


async def _plain(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in _chunks(response):
        body += chunk
        if len(body) > limit:
            raise TooLarge
    return bytes(body)


async def _gzip(response: httpx.Response, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    body = bytearray()
    async for chunk in _chunks(response):
        try:
            # One byte beyond the cap is enough to know; zlib makes no more of the chunk than that.
            body += unpacker.decompress(chunk, limit + 1 - len(body))
        except zlib.error:
            raise Undecodable from None
        if len(body) > limit:
            raise TooLarge
        if unpacker.unused_data:  # a second member could go on for ever and unpack to nothing
            raise Undecodable
    if not unpacker.eof:
        raise Undecodable
    return bytes(body)


def _chunks(response: httpx.Response) -> httpx.AsyncByteStream:
    # The stream itself instead of `aiter_bytes`, which unpacks without a bound.
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport gave a response without an asynchronous stream")
    return stream
