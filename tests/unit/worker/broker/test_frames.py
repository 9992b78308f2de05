"""Our own codec against the library's, in both directions."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pamqp.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from producer_sdk import tolerance
from producer_sdk.tolerance import UNDECODABLE, WIRE, decodable, readable
from producer_sdk.wire import Envelope
from tests.properties import properties_of
from worker.broker import frames

CHANNEL = 513
FLAGS = {name: flag.bit_length() - 1 for name, flag in Basic.Properties.flags.items()}

texts = st.text(st.characters(codec="utf-8"), max_size=60)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=30)
numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-130, 130) | st.integers(-70_000, 70_000)
instants = st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
envelopes = st.builds(
    Envelope,
    headers=st.dictionaries(names, texts | numbers | st.booleans(), max_size=12),
    correlation_id=st.none() | texts,
    reply_to=st.none() | texts,
    priority=st.none() | st.integers(0, 255),
    expiration=st.none() | st.timedeltas(timedelta(0), timedelta(days=400)),
    at=st.none() | instants,
    kind=st.none() | texts,
)


def decoded(raw: bytes) -> Iterator[Any]:
    """Give the frames of what was written, as the library reads them."""
    while raw:
        used, channel, frame = pamqp.frame.unmarshal(raw)
        assert channel == CHANNEL
        raw = raw[used:]
        yield frame


@given(envelopes, st.binary(max_size=100), st.integers(1, 100), names, texts)
def test_a_published_message_is_what_the_library_would_have_written(
    envelope: Envelope, body: bytes, most: int, exchange: str, key: str
) -> None:
    raw = frames.published(
        CHANNEL,
        envelope,
        body,
        exchange=exchange,
        routing_key=key,
        message_id="m-1",
        most=most,
    )
    method = Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    header = ContentHeader(body_size=len(body), properties=properties_of(envelope, "m-1"))
    bodies = [ContentBody(body[start : start + most]) for start in range(0, len(body), most)]
    sent: list[Any] = [method, header, *bodies]
    assert raw == b"".join(pamqp.frame.marshal(frame, CHANNEL) for frame in sent)


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope(headers={"a": 2**63}),
        Envelope(headers={"a": -(2**63) - 1}),
        Envelope(headers={}, correlation_id="é" * 128),
        Envelope(headers={}, priority=256),
        Envelope(headers={}, priority=-1),
    ],
)
def test_what_amqp_has_no_room_for_is_not_written(envelope: Envelope) -> None:
    with pytest.raises(ValueError, match="AMQP"):
        frames.published(
            CHANNEL, envelope, b"", exchange="e", routing_key="k", message_id="m", most=9
        )


@given(st.integers(1, 2**63 - 1))
def test_an_ack_is_what_the_library_would_have_written(tag: int) -> None:
    assert frames.acked(CHANNEL, tag) == pamqp.frame.marshal(Basic.Ack(tag), CHANNEL)


@given(st.integers(1, 2**63 - 1), st.booleans(), st.booleans())
def test_a_confirm_is_what_the_library_reads(tag: int, multiple: bool, requeue: bool) -> None:  # noqa: FBT001
    for raw in (
        pamqp.frame.marshal(Basic.Ack(tag, multiple), CHANNEL),
        pamqp.frame.marshal(Basic.Nack(tag, multiple, requeue), CHANNEL),
    ):
        assert frames.confirmed(raw[7:-1]) == (tag, multiple)


@given(names, st.integers(1, 2**63 - 1), st.booleans(), names, st.binary(max_size=40))
def test_a_delivery_is_what_the_library_reads(
    consumer: str,
    tag: int,
    redelivered: bool,  # noqa: FBT001
    exchange: str,
    key: bytes,
) -> None:
    method = Basic.Deliver(consumer, tag, redelivered, exchange, "")
    payload = pamqp.frame.marshal(method, CHANNEL)[7:-2] + bytes([len(key)]) + key
    assert frames.delivery(payload) == (tag, exchange)


def test_an_exchange_that_is_not_utf_8_is_the_librarys() -> None:
    payload = pamqp.frame.marshal(Basic.Deliver("c", 5, False, "EX", "k"), CHANNEL)[7:-1]  # noqa: FBT003
    broken = payload.replace(b"EX", b"\xff\xfe")
    assert frames.delivery(broken) == (5, None)
    method = Basic.Deliver()
    method.unmarshal(readable(broken)[4:])
    assert method.exchange == "??"


def payload_of(properties: Basic.Properties) -> bytes:
    marshalled: bytes = ContentHeader(body_size=7, properties=properties).marshal()
    return marshalled


def both_say_the_same(payload: bytes) -> frames.Properties | None:
    """Compare, and give what was read, if anything was."""
    said = frames.properties(payload)
    header = ContentHeader()
    header.unmarshal(decodable(payload))
    if said is None:
        return None
    theirs = header.properties
    headers = dict(theirs.headers or {})
    assert headers.pop(WIRE) == payload or WIRE in said.headers
    ours = {name: value for name, value in said.headers.items() if name != WIRE}
    assert ours == headers
    assert {name: type(value) for name, value in ours.items()} == {
        name: type(value) for name, value in headers.items()
    }
    for name in ("priority", "correlation_id", "reply_to", "message_id", "user_id"):
        assert getattr(said, name) == getattr(theirs, name)
    return said


@given(envelopes, st.none() | texts, st.none() | texts)
def test_ordinary_properties_are_read_as_the_library_reads_them(
    envelope: Envelope, user: str | None, encoding: str | None
) -> None:
    properties = properties_of(envelope, "m")
    properties.user_id, properties.content_encoding = user, encoding
    properties.app_id = encoding
    assert both_say_the_same(payload_of(properties)) is not None


def short(raw: bytes) -> bytes:
    return bytes([len(raw)]) + raw


def table(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


values = st.one_of(
    st.binary(max_size=9).map(lambda raw: b"S" + table(raw)),
    st.sampled_from([b"t\x00", b"t\x02", b"b\xff", b"B\xff", b"s\xff\xff", b"u\xff\xff", b"V"]),
    st.binary(min_size=4, max_size=4).flatmap(
        lambda raw: st.sampled_from([b"I" + raw, b"i" + raw])
    ),
    st.binary(min_size=8, max_size=8).flatmap(
        lambda raw: st.sampled_from([b"l" + raw, b"L" + raw, b"T" + raw, b"d" + raw])
    ),
    st.just(b"F" + table(short(b"a") + b"V")),
    st.just(b"x" + table(b"abc")),
    st.just(b"?"),
)
fields = st.tuples(st.sampled_from([b"a", b"b", b"\xff", b"", WIRE.encode()]), values).map(
    lambda pair: short(pair[0]) + pair[1]
)


@given(
    st.integers(0, 0xFFFF),
    st.lists(fields, max_size=4).map(b"".join),
    st.lists(st.binary(max_size=5).map(short), min_size=13, max_size=13),
    st.sampled_from([0, 0xFFFFFFFF, 2**32, 253_402_300_799_000, 253_402_300_799_001, 2**63]),
    st.binary(max_size=2),
)
@example(0xFFFE, b"", [b"\x01a"] * 13, 1, b"")
def test_whatever_the_properties_they_are_read_as_the_library_reads_them_or_not_at_all(
    flags: int, headers: bytes, parts: list[bytes], instant: int, rest: bytes
) -> None:
    there: dict[str, bytes] = dict(zip(FLAGS, [*parts, b""], strict=True))
    there |= {
        "headers": table(headers),
        "timestamp": struct.pack(">Q", instant),
        "delivery_mode": b"\x02",
        "priority": b"\x04",
    }
    written = b"".join(raw for name, raw in there.items() if flags & 1 << FLAGS[name])
    both_say_the_same(struct.pack(">HHQH", 60, 0, 7, flags) + written + rest)


@given(st.binary(max_size=40))
def test_no_bytes_are_too_odd_to_be_left_to_the_library(raw: bytes) -> None:
    assert frames.properties(raw) is None or len(raw) >= 14
    both_say_the_same(struct.pack(">HHQ", 60, 0, 7) + raw)


@pytest.mark.parametrize(
    "properties",
    [
        Basic.Properties(headers={str(number): number for number in range(65)}),
        Basic.Properties(headers={"x-death": [{"queue": "q"}]}),
        Basic.Properties(headers={"a": {}}),
        Basic.Properties(headers={"a": 1.5}),
        Basic.Properties(headers={"a": bytearray(b"a")}),
        Basic.Properties(headers={"a": None}),
    ],
)
def test_what_is_unusual_is_left_to_the_library(properties: Basic.Properties) -> None:
    assert frames.properties(payload_of(properties)) is None


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">H", 1 << 6) + b"\xff" * 8,
        struct.pack(">H", 1 << 10) + short(b"\xff"),
        struct.pack(">H", 1 << 13) + table(short(b"\xff") + b"V"),
        struct.pack(">H", 1 << 13) + table((short(b"a") + b"F") * 600),
        struct.pack(">H", 1 << 15),
    ],
)
def test_poison_is_left_to_the_library(raw: bytes) -> None:
    payload = struct.pack(">HHQ", 60, 0, 7) + raw
    assert frames.properties(payload) is None
    header = ContentHeader()
    header.unmarshal(decodable(payload))
    assert UNDECODABLE in (header.properties.headers or {})


def test_the_constants_are_the_librarys() -> None:
    for name, method in (
        (frames.ACK, Basic.Ack),
        (frames.NACK, Basic.Nack),
        (frames.RETURN, Basic.Return),
        (tolerance.DELIVER, Basic.Deliver),
        (frames.CLOSE, pamqp.commands.Channel.Close),
        (frames.CLOSE_OK, pamqp.commands.Channel.CloseOk),
        (frames.BLOCKED, pamqp.commands.Connection.Blocked),
        (frames.UNBLOCKED, pamqp.commands.Connection.Unblocked),
    ):
        assert name == struct.pack(">I", method.index)
