"""The bytes of the few frames that every job needs, without the AMQP library.

A job is one delivery, one reply, one confirm and one ack; the library's codec is general and takes most of a job's time
for them. What is written here is written as the library would, byte for byte. What is read here is read as the library
would, or not at all: whatever is unusual, and everything that breaks a rule, is left to the library behind
`producer_sdk.tolerance`, so that poison is found there alone.
"""

import struct
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from producer_sdk.tolerance import CONTENT_BODY, CONTENT_HEADER, END, HEAD, METHOD
from producer_sdk.wire import Envelope, HeaderValue

# Class and method, as a method's payload begins.
ACK, NACK, RETURN = (struct.pack(">HH", 60, method) for method in (80, 120, 50))
CLOSE, CLOSE_OK = (struct.pack(">HH", 20, method) for method in (40, 41))
BLOCKED, UNBLOCKED = (struct.pack(">HH", 10, method) for method in (60, 61))
_PUBLISH: Final = struct.pack(">HHH", 60, 40, 0)
_MANDATORY: Final = b"\x01"
_PERSISTENT: Final = b"\x02"
_END: Final = bytes([END])
# Bytes of a frame around its payload.
AROUND: Final = HEAD.size + 1

_ACK_FRAME: Final = struct.Struct(">BHI4sQBB")
_CONFIRM: Final = struct.Struct(">QB")
_TAG: Final = struct.Struct(">Q")
# Of the year 9999, in milliseconds: so the library reads what is too large for seconds of this age.
_LAST_INSTANT: Final = 253_402_300_799_000
_CONTENT: Final = struct.Struct(">HHQH")
_BASIC: Final = 60

_CONTENT_TYPE, _ENCODING, _HEADERS, _MODE, _PRIORITY = (1 << bit for bit in (15, 14, 13, 12, 11))
_CORRELATION, _REPLY_TO, _EXPIRATION, _MESSAGE_ID = (1 << bit for bit in (10, 9, 8, 7))
_TIMESTAMP, _TYPE, _USER, _APP, _CLUSTER = (1 << bit for bit in (6, 5, 4, 3, 2))
_MORE_FLAGS: Final = 1
_FIRST_TEXTS: Final = (_CONTENT_TYPE, _ENCODING)
_MIDDLE_TEXTS: Final = (_CORRELATION, _REPLY_TO, _EXPIRATION, _MESSAGE_ID)
_LAST_TEXTS: Final = (_TYPE, _USER, _APP, _CLUSTER)
_PROPERTIES_AT: Final = 14

_LONG: Final = struct.Struct(">I")
_TEXT, _TRUTH = b"St"
_NUMBERS: Final = MappingProxyType(
    {
        kind: struct.Struct(form)
        for kind, form in zip(
            b"bBsuIilL", (">b", ">B", ">h", ">H", ">i", ">I", ">q", ">q"), strict=True
        )
    }
)
# More headers than any producer of ours writes, and fewer than what the tolerant reader bears.
_MOST_HEADERS: Final = 64
_SMALL: Final = {value: struct.pack(">cb", b"b", value) for value in range(-128, 128)}
_LARGER: Final = tuple(
    (struct.Struct(f">c{form}"), kind, least, most)
    for kind, form, least, most in (
        (b"s", "h", -(2**15), 2**15 - 1),
        (b"u", "H", 0, 2**16 - 1),
        (b"I", "i", -(2**31), 2**31 - 1),
        (b"i", "I", 0, 2**32 - 1),
        (b"l", "q", -(2**63), 2**63 - 1),
    )
)
_OCTETS: Final = tuple(bytes([value]) for value in range(256))
_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST_SHORT: Final = 255


class Properties(NamedTuple):
    """What a content header says, as far as anybody here asks."""

    headers: dict[str, str | bytes | int]
    priority: int | None
    correlation_id: str | None
    reply_to: str | None
    message_id: str | None
    user_id: str | None


def properties(payload: bytes) -> Properties | None:
    """Read the payload of a content header; None: the library has to."""
    try:
        return _properties(payload)
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        return None


def _properties(payload: bytes) -> Properties | None:
    """Read properties in their order. A slice beyond the end is short, and found at the end."""
    flags = payload[12] << 8 | payload[13]
    if flags & _MORE_FLAGS:
        return None
    at, _ = _texts(payload, _PROPERTIES_AT, flags, _FIRST_TEXTS)
    headers: dict[str, str | bytes | int] = {}
    if flags & _HEADERS:
        start, at = at + 4, at + 4 + _LONG.unpack_from(payload, at)[0]
        headers = _table(payload, start, at)
    if flags & _MODE:
        at += 1
    priority = None
    if flags & _PRIORITY:
        priority = payload[at]
        at += 1
    at, (correlation_id, reply_to, _, message_id) = _texts(payload, at, flags, _MIDDLE_TEXTS)
    if flags & _TIMESTAMP:
        if _TAG.unpack_from(payload, at)[0] > _LAST_INSTANT:
            return None
        at += _TAG.size
    at, (_, user_id, _, _) = _texts(payload, at, flags, _LAST_TEXTS)
    if at != len(payload):
        return None
    return Properties(headers, priority, correlation_id, reply_to, message_id, user_id)


def _texts(
    payload: bytes, at: int, flags: int, which: tuple[int, ...]
) -> tuple[int, list[str | None]]:
    """Read those of some properties that are there, all of them texts; give where they end, too."""
    said: list[str | None] = []
    for flag in which:
        if flags & flag:
            start, at = at + 1, at + 1 + payload[at]
            said.append(payload[start:at].decode())
        else:
            said.append(None)
    return at, said


def _table(payload: bytes, at: int, end: int) -> dict[str, str | bytes | int]:
    """Read a table of text, numbers and truths; KeyError: it has something else, or does not end where it should."""
    headers: dict[str, str | bytes | int] = {}
    left = _MOST_HEADERS
    while at < end and left:
        left -= 1
        start, at = at + 1, at + 1 + payload[at]
        name = payload[start:at].decode()
        kind = payload[at]
        at += 1
        if kind == _TEXT:
            start, at = at + 4, at + 4 + _LONG.unpack_from(payload, at)[0]
            text = payload[start:at]
            try:
                headers[name] = text.decode()
            except UnicodeDecodeError:
                headers[name] = text
        elif kind == _TRUTH:
            headers[name] = payload[at] != 0
            at += 1
        else:
            number = _NUMBERS[kind]
            headers[name] = number.unpack_from(payload, at)[0]
            at += number.size
    if at != end:
        raise KeyError
    return headers


def delivery(payload: bytes) -> tuple[int, str | None]:
    """Give a delivery's tag and the exchange that it came through; None: the exchange's name is not UTF-8."""
    at = 5 + payload[4]  # behind the consumer's name
    (tag,) = _TAG.unpack_from(payload, at)
    at += 9
    try:
        return tag, payload[at + 1 : at + 1 + payload[at]].decode()
    except UnicodeDecodeError:
        return tag, None


def confirmed(payload: bytes) -> tuple[int, bool]:
    """Give the tag that an ack or a nack of the broker is about, and whether it is about all before it too."""
    tag, bits = _CONFIRM.unpack_from(payload, 4)
    return tag, bool(bits & 1)


def acked(channel: int, tag: int) -> bytes:
    """Write the ack of one delivery."""
    return _ACK_FRAME.pack(METHOD, channel, 13, ACK, tag, 0, END)


def published(
    channel: int,
    envelope: Envelope,
    body: bytes,
    *,
    exchange: str,
    routing_key: str,
    message_id: str,
    most: int,
) -> bytes:
    """Write a whole message, persistent and mandatory; at most `most` bytes of its body stand in one frame.

    Raises:
        ValueError: a name or a property is longer than AMQP has room for, or a number larger.
    """
    method = _PUBLISH + _name(exchange) + _short(routing_key) + _MANDATORY
    header = _header(envelope, message_id, len(body))
    parts: list[bytes | memoryview] = [
        HEAD.pack(METHOD, channel, len(method)),
        method,
        _END,
        HEAD.pack(CONTENT_HEADER, channel, len(header)),
        header,
        _END,
    ]
    if 0 < len(body) <= most:
        parts += (HEAD.pack(CONTENT_BODY, channel, len(body)), body, _END)
    else:
        whole = memoryview(body)  # a large body is not copied twice
        for start in range(0, len(body), most):
            piece = whole[start : start + most]
            parts += (HEAD.pack(CONTENT_BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def _header(envelope: Envelope, message_id: str, size: int) -> bytes:
    """Write the payload of a content header; the properties stand in the order of their flags."""
    table = _written(envelope.headers)
    flags = _CONTENT_TYPE | _HEADERS | _MODE | _MESSAGE_ID
    said = _name(envelope.content_type) + _LONG.pack(len(table)) + table + _PERSISTENT
    if envelope.priority is not None:
        flags |= _PRIORITY
        said += _octet(envelope.priority)
    if envelope.correlation_id:
        flags |= _CORRELATION
        said += _short(envelope.correlation_id)
    if envelope.reply_to:
        flags |= _REPLY_TO
        said += _short(envelope.reply_to)
    if envelope.expiration is not None:
        flags |= _EXPIRATION
        said += _short(str(max(1, envelope.expiration // _MILLISECOND)))
    said += _short(message_id)
    if envelope.at is not None:
        flags |= _TIMESTAMP
        said += _TAG.pack(int(envelope.at.timestamp()))
    if envelope.kind:
        flags |= _TYPE
        said += _name(envelope.kind)
    return _CONTENT.pack(_BASIC, 0, size, flags) + said


def _written(headers: Mapping[str, HeaderValue]) -> bytes:
    """Write a table in the order of its names."""
    parts: list[bytes] = []
    for name in sorted(headers):
        value = headers[name]
        if isinstance(value, str):
            text = value.encode()
            parts += (_name(name), b"S", _LONG.pack(len(text)), text)
        elif value is True or value is False:
            parts += (_name(name), b"t\x01" if value else b"t\x00")
        else:
            parts += (_name(name), _SMALL.get(value) or _number(value))
    return b"".join(parts)


def _number(value: int) -> bytes:
    """Write a number in the smallest of the forms that the library writes."""
    for form, kind, least, most in _LARGER:
        if least <= value <= most:
            return form.pack(kind, value)
    raise ValueError("a header's number is too large for AMQP")


def _short(text: str) -> bytes:
    """Write a text of at most 255 bytes."""
    written = text.encode()
    return _octet(len(written)) + written


def _octet(value: int) -> bytes:
    if not 0 <= value <= _LONGEST_SHORT:
        raise ValueError("a property is too long, or too large, for AMQP")
    return _OCTETS[value]


# For what the code itself names: exchanges, headers, kinds.
_name = lru_cache(maxsize=256)(_short)
