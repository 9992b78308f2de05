import asyncio
import struct

import pytest
from aiormq.connection import FrameReceiver
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import FrameTypes, marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from worker.broker.tolerance import TolerantReader

CHANNEL = 7


def header_frame(payload: bytes) -> bytes:
    return struct.pack(">BHI", 2, CHANNEL, len(payload)) + payload + b"\xce"


def header(flags: int, properties: bytes) -> bytes:
    return header_frame(struct.pack(">HHQH", 60, 0, 42, flags) + properties)


async def frames(raw: bytes) -> list[object]:
    """Read all frames as the library does."""
    source = asyncio.StreamReader()
    source.feed_data(raw)
    source.feed_eof()
    received: list[object] = []
    async for _, channel, frame in FrameReceiver(TolerantReader(source)):
        assert channel in {0, CHANNEL}
        received.append(frame)
    return received


async def test_what_can_be_decoded_passes_unchanged() -> None:
    properties = Basic.Properties(
        headers={"a": 1, "b": "x", "c": {"d": [1, {"e": True}]}}, correlation_id="c", priority=3
    )
    sent: list[FrameTypes] = [
        Basic.Deliver("tag", 1, exchange="e", routing_key="k"),
        ContentHeader(body_size=3, properties=properties),
        ContentBody(b"abc"),
        Heartbeat(),
    ]
    raw = b"".join(marshal(frame, CHANNEL) for frame in sent)
    deliver, content, body, beat = await frames(raw)
    assert isinstance(deliver, Basic.Deliver)
    assert isinstance(content, ContentHeader)
    assert content.properties == properties
    assert isinstance(body, ContentBody)
    assert (body.value, type(beat)) == (b"abc", Heartbeat)


def shortstr(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def table(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def nested(depth: int) -> bytes:
    value = table(b"")
    for _ in range(depth):
        value = table(shortstr(b"a") + b"F" + value)
    return value


@pytest.mark.parametrize(
    ("flags", "properties"),
    [
        (1 << 6, b"\xff" * 8),
        (1 << 10, shortstr(b"\xff")),
        (1 << 13, table(shortstr(b"\xff") + b"V")),
        (1 << 13, table(shortstr(b"t") + b"T" + b"\xff" * 8)),
        (1 << 13, table(shortstr(b"t") + b"?")),
        (1 << 13, nested(10)),
        (1 << 13, nested(2000)),
        (1 << 13, b"\x7f\xff\xff\xff"),
        (1 << 15, b""),
    ],
)
async def test_what_cannot_be_decoded_keeps_its_size_and_shows_its_bytes(
    flags: int, properties: bytes
) -> None:
    after = marshal(ContentBody(b"abc"), CHANNEL)
    content, body = await frames(header(flags, properties) + after)
    assert isinstance(content, ContentHeader)
    assert content.body_size == 42
    kept = struct.pack(">H", flags) + properties
    assert content.properties.headers == {"x-warren-undecodable": kept[: 8 * 1024]}
    assert isinstance(body, ContentBody)


@given(st.integers(min_value=0, max_value=0xFFFE).map(lambda flags: flags & ~1), st.binary())
def test_no_properties_stop_the_reading(flags: int, properties: bytes) -> None:
    raw = header(flags, properties) + marshal(ContentBody(b"abc"), CHANNEL)
    assert len(asyncio.run(frames(raw))) == 2


async def test_a_broker_of_another_protocol_is_passed_on() -> None:
    source = asyncio.StreamReader()
    source.feed_data(b"AMQP\x00\x01\x00\x00")
    reader = TolerantReader(source)
    assert await reader.readexactly(1) + await reader.readexactly(6) == b"AMQP\x00\x01\x00"
