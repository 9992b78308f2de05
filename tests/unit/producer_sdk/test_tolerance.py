import asyncio
import struct
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import FrameTypes, marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from producer_sdk.tolerance import CONTENT_BODY, END, UNDECODABLE, WIRE, Taker, TolerantProtocol

CHANNEL = 7
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def header_frame(payload: bytes) -> bytes:
    return struct.pack(">BHI", 2, CHANNEL, len(payload)) + payload + b"\xce"


def header(flags: int, properties: bytes) -> bytes:
    return header_frame(struct.pack(">HHQH", 60, 0, 42, flags) + properties)


async def frames(
    raw: bytes, *, takers: Mapping[int, Taker] = MappingProxyType({}), piece: int = 2**20
) -> list[object]:
    """Read all frames as the library does, so many bytes at a time."""
    reader = asyncio.StreamReader()
    protocol = TolerantProtocol(reader, takers)
    for start in range(0, len(raw), piece):
        protocol.data_received(raw[start : start + piece])
    protocol.eof_received()
    received: list[object] = []
    async for _, channel, frame in FrameReceiver(reader):
        assert channel in {0, CHANNEL}
        received.append(frame)
    return received


@pytest.mark.parametrize(
    "properties",
    [
        Basic.Properties(
            headers={"a": 1, "b": "x", "c": {"d": [1, {"e": True}]}}, correlation_id="c", priority=3
        ),
        Basic.Properties(headers={}, content_type="t", content_encoding="e", timestamp=NOW),
        Basic.Properties(content_type="t", content_encoding="e", delivery_mode=2, app_id="a"),
        Basic.Properties(content_encoding="e", headers={"x-warren-wire": "forged"}),
        Basic.Properties(),
    ],
)
async def test_what_can_be_decoded_passes_with_its_bytes_beside_it(
    properties: Basic.Properties,
) -> None:
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
    original = ContentHeader(body_size=3, properties=properties).marshal()
    headers = {**(properties.headers or {}), WIRE: original}
    assert content.properties.headers == headers
    assert {**dict(content.properties), "headers": 0} == {**dict(properties), "headers": 0}
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
        (1 << 15 | 1, b"\x00\x00\x01t"),
        (1 << 13, table(b"\x00V" * 513)),
        (1 << 13, struct.pack(">I", 6) + shortstr(b"a") + b"I\x00\x00\x00\x01"),
        (1 << 13, table(shortstr(b"a") + b"A" + table(b"V" * 513))),
    ],
)
async def test_what_cannot_be_decoded_keeps_its_size_and_shows_its_bytes(
    flags: int, properties: bytes
) -> None:
    after = marshal(ContentBody(b"abc"), CHANNEL)
    content, body = await frames(header(flags, properties) + after)
    assert isinstance(content, ContentHeader)
    assert content.body_size == 42
    kept = struct.pack(">HHQH", 60, 0, 42, flags) + properties
    assert content.properties.headers == {UNDECODABLE: True, WIRE: kept}
    assert isinstance(body, ContentBody)


@given(st.integers(min_value=0, max_value=0xFFFE).map(lambda flags: flags & ~1), st.binary())
def test_no_properties_stop_the_reading(flags: int, properties: bytes) -> None:
    raw = header(flags, properties) + marshal(ContentBody(b"abc"), CHANNEL)
    assert len(asyncio.run(frames(raw))) == 2


async def test_a_frame_full_of_values_costs_little_more_than_its_bytes() -> None:
    """The library takes a third of a second to decode these, and no heartbeat goes meanwhile."""
    raw = header(1 << 13, table(b"\x00V" * 60_000)) * 10
    began = time.process_time()
    assert len(await frames(raw)) == 10
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "method",
    [
        Basic.Deliver("tag", (1 << 63) - 1, exchange="EXCH", routing_key="KEY"),
        Basic.GetOk((1 << 63) - 1, exchange="EXCH", routing_key="KEY", message_count=9),
    ],
)
async def test_names_that_are_not_utf_8_are_shown_with_question_marks(
    method: Basic.Deliver | Basic.GetOk,
) -> None:
    raw = marshal(method, CHANNEL)
    (plain,) = await frames(raw)
    assert dict(plain) == dict(method)  # type: ignore[call-overload]  # frames are mappings of no kind
    broken = raw.replace(b"EXCH", b"e\xff\xc3\x28").replace(b"KEY", b"\xe2\x82k")
    raw = struct.pack(">BHI", 1, CHANNEL, len(raw) - 8) + broken[7:]
    (shown,) = await frames(raw)
    assert isinstance(shown, type(method))
    assert (shown.exchange, shown.routing_key) == ("e??(", "?k")
    assert shown.delivery_tag == (1 << 63) - 1
    assert getattr(shown, "message_count", 9) == 9


@pytest.mark.parametrize("piece", [1, 7, 8])
async def test_a_broker_of_another_protocol_is_passed_on(piece: int) -> None:
    with pytest.raises(ProtocolSyntaxError):
        await frames(b"AMQP\x00\x01\x00\x00", piece=piece)


@pytest.mark.parametrize("piece", [1, 2, 7, 8, 9, 100, 2**20])
async def test_frames_are_cut_however_they_come(piece: int) -> None:
    sent: list[FrameTypes] = [
        Basic.Deliver("tag", 1, exchange="e", routing_key="k"),
        ContentHeader(body_size=200, properties=Basic.Properties(headers={"a": 1})),
        ContentBody(b"b" * 199),
        ContentBody(b"c"),
        Heartbeat(),
        Basic.Ack(7),
    ]
    raw = b"".join(marshal(frame, CHANNEL) for frame in sent)
    shown = await frames(raw, piece=piece)
    assert [type(frame) for frame in shown] == [type(frame) for frame in sent]
    taken: list[tuple[int, bytes]] = []

    def take(kind: int, payload: bytes) -> bool:
        taken.append((kind, payload))
        return kind == CONTENT_BODY

    rest = await frames(raw, takers={CHANNEL: take}, piece=piece)
    assert [type(frame) for frame in rest] == [
        type(frame) for frame in sent if not isinstance(frame, ContentBody)
    ]
    assert [kind for kind, _ in taken] == [1, 2, 3, 3, 1]  # a heartbeat is of no channel
    assert [payload for kind, payload in taken if kind == CONTENT_BODY] == [b"b" * 199, b"c"]


async def test_a_frame_that_does_not_end_as_it_should_is_the_librarys() -> None:
    raw = marshal(Basic.Ack(7), CHANNEL)
    broken = raw[:-1] + bytes([END - 1])
    with pytest.raises(InvalidFrameError):
        await frames(broken, takers={CHANNEL: lambda _kind, _payload: True})


@pytest.mark.parametrize("cut", [1, 5, 12])
async def test_a_connection_that_ends_within_a_frame_is_told_as_the_library_tells_it(
    cut: int,
) -> None:
    with pytest.raises(AMQPConnectionError, match="unexpectedly closed"):
        await frames(marshal(Basic.Ack(7), CHANNEL)[:cut])


async def test_a_large_frame_in_small_pieces_costs_little_more_than_its_bytes() -> None:
    raw = marshal(ContentBody(b"b" * 20_000_000), CHANNEL)
    began = time.process_time()
    (body,) = await frames(raw, piece=65_536)
    assert isinstance(body, ContentBody)
    assert time.process_time() - began < 1


async def test_the_library_hears_of_a_broker_whose_frames_are_all_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gives up a connection on which it sees nothing for three heartbeats, and the broker sends none while busy."""
    reader = asyncio.StreamReader()
    protocol = TolerantProtocol(reader, {CHANNEL: lambda _kind, _payload: True})
    now = asyncio.get_running_loop().time()
    raw = marshal(Basic.Ack(7), CHANNEL)
    protocol.data_received(raw)
    for seconds in (0.9, 1.8, 2.7, 3.6):
        monkeypatch.setattr(protocol, "_time", lambda at=now + seconds: at)
        protocol.data_received(raw)
    reader.feed_eof()
    shown = [frame async for _, _, frame in FrameReceiver(reader)]
    assert [type(frame) for frame in shown] == [Heartbeat, Heartbeat]


@pytest.mark.parametrize("payload", [b"", b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x47\x00"])
@pytest.mark.parametrize("kind", [1, 2])
async def test_a_frame_that_is_too_short_is_the_librarys(kind: int, payload: bytes) -> None:
    raw = struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + bytes([END])
    with pytest.raises(InvalidFrameError):
        await frames(raw)
