"""Reads a body under a byte cap, counted after unpacking, so that a decompression bomb ends early."""

import zlib
from typing import Final

from worker.upstream.wire import Answer

ENCODINGS: Final = "gzip"
"""What `accept-encoding` may offer: what can be unpacked here piece by piece, under the cap."""

_GZIP: Final = zlib.MAX_WBITS | 16


class TooLarge(Exception):  # noqa: N818  # names the body, not a failure of ours
    """The body has more bytes than the cap allows; no more than the cap was ever kept."""


class Undecodable(Exception):  # noqa: N818  # see TooLarge
    """The body is packed in a way that was not asked for, or its packing is damaged or cut short."""


async def read(answer: Answer, *, limit: int) -> bytes:
    """Give the unpacked body, at most `limit` bytes of it. Does not close the answer.

    Raises:
        TooLarge, Undecodable: as they say.
        httpx.RequestError: the connection failed on the way.
    """
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        return await _gzip(answer, limit)
    if encoding not in {"", "identity"}:
        raise Undecodable
    body = bytearray()
    while (piece := await answer.piece()) is not None:
        body += piece
        if len(body) > limit:
            raise TooLarge
    return bytes(body)


async def _gzip(answer: Answer, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    body = bytearray()
    while (piece := await answer.piece()) is not None:
        try:
            # One byte beyond the cap is enough to know; zlib makes no more of the piece than that.
            body += unpacker.decompress(piece, limit + 1 - len(body))
        except zlib.error:
            raise Undecodable from None
        if len(body) > limit:
            raise TooLarge
        if unpacker.unused_data:  # a second member could go on for ever and unpack to nothing
            raise Undecodable
    if not unpacker.eof:
        raise Undecodable
    return bytes(body)
