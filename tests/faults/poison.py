"""Wire poison: what a producer may send that no producer should, kind by kind.

A kind changes a message that is in order. Whether the broker takes it differs from version to version, so nobody
lists that: it is seen when it is published. What it takes must end in quarantine, with its bytes, if the kind is
poison to that sort of message, and else be treated as if nothing were wrong with it.
"""

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from tests.faults.rawamqp import Draft, long, short, table

REQUEST, ASK, REPLY = "request", "ask", "reply"
_ALL: Final = frozenset({REQUEST, ASK, REPLY})
_REQUEST: Final = frozenset({REQUEST})
_ASK: Final = frozenset({ASK})
_REPLY: Final = frozenset({REPLY})
_NONE: Final[frozenset[str]] = frozenset()

Change: TypeAlias = Callable[[Draft], Draft]

_INVALID: Final = b"\xc3\x28\xff"
_FAR: Final = b"\x80" + b"\x00" * 7  # 2^63
_SHORT_STRINGS: Final = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
# One value of each type that RabbitMQ knows, by the letter that tells it.
_TYPED: Final = {
    "boolean": b"t\x01",
    "int8": b"b\x80",
    "uint8": b"B\xff",
    "int16": b"s\x80\x00",
    "uint16": b"u\xff\xff",
    "int32": b"I\x80\x00\x00\x00",
    "uint32": b"i\xff\xff\xff\xff",
    "int64": b"l\x80" + b"\x00" * 7,
    "int64 at its end": b"l\x7f" + b"\xff" * 7,
    "float": b"f\x3f\xc0\x00\x00",
    "double": b"d\x3f\xf8" + b"\x00" * 6,
    "decimal": b"D\xff\x7f\xff\xff\xff",
    "long string": b"S" + long(b"x"),
    "empty string": b"S" + long(b""),
    "string of NULs": b"S" + long(b"\x00" * 8),
    "array": b"A" + long(b"I\x00\x00\x00\x01" * 3),
    "table": b"F" + table([(b"a", b"V")]),
    "instant": b"T" + b"\x00" * 8,
    "byte array": b"x" + long(b"\x00\xff"),
    "void": b"V",
}
_READ: Final = {
    "version": b"x-warren-version",
    "path": b"x-warren-path",
    "key": b"x-warren-key",
    "deadline": b"x-warren-deadline",
    "dedupe": b"x-warren-dedupe",
    "submitted": b"x-warren-submitted",
    "ask": b"x-warren-ask",
    "job": b"x-warren-job",
    "status": b"x-warren-status",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of poison; `to` names the sorts of message that it makes unreadable."""

    name: str
    change: Change
    to: frozenset[str] = _ALL


def text(value: bytes) -> bytes:
    """Encode a header's text."""
    return b"S" + long(value)


def integer(value: int) -> bytes:
    """Encode a header's integer of 64 bits."""
    return b"l" + struct.pack(">q", value)


def _nested(depth: int, letter: bytes = b"F") -> bytes:
    value = long(b"")
    for _ in range(depth):
        value = long((short(b"a") if letter == b"F" else b"") + letter + value)
    return letter + value


def _having(**properties: bytes) -> Change:
    return lambda draft: draft.having(**properties)


def _header(name: bytes, value: bytes | None) -> Change:
    return lambda draft: draft.header(name, value)


def _body(body: bytes) -> Change:
    return lambda draft: replace(draft, body=body)


def _key(key: bytes, *, bcc: bool = False) -> Change:
    """Publish with a routing key that reaches nobody, and the right one as a copy's."""

    def change(draft: Draft) -> Draft:
        copies = b"A" + long(text(draft.routing_key))
        return replace(draft.header(b"BCC" if bcc else b"CC", copies), routing_key=key)

    return change


def _raw(raw: bytes) -> Change:
    return lambda draft: replace(draft, raw=raw)


def _properties() -> list[Kind]:
    kinds = [
        Kind(name=f"invalid UTF-8 in {name}", change=_having(**{name: short(_INVALID)}))
        for name in _SHORT_STRINGS
    ]
    nobody = [
        Kind(name=f"{what} in {name}", change=_having(**{name: short(value)}), to=to)
        for what, name, value, to in (
            ("a cluster", "cluster_id", b"c", _NONE),
            ("NULs", "correlation_id", b"\x00" * 9, frozenset({REQUEST, ASK})),
            ("255 bytes", "correlation_id", b"c" * 255, frozenset({REQUEST, ASK})),
            ("nothing", "correlation_id", b"", frozenset({REQUEST, ASK})),
            ("another tenant's route", "reply_to", b"stranger.client", frozenset({REQUEST, ASK})),
            ("a queue's name", "reply_to", b"warren.quarantine", frozenset({REQUEST, ASK})),
            ("the pattern of all", "reply_to", b"#", frozenset({REQUEST, ASK})),
            ("direct reply-to", "reply_to", b"amq.rabbitmq.reply-to", frozenset({REQUEST, ASK})),
            ("another user", "user_id", b"worker", frozenset({REQUEST, ASK})),
            ("a user of no name", "user_id", b"", frozenset({REQUEST, ASK})),
            ("an unknown coding", "content_encoding", b"br;q=1, zstd", _NONE),
            ("an unknown type", "content_type", b"application/x-java-serialized-object", _NONE),
            ("a worker's own kind", "type", b"warren.parked", _NONE),
        )
    ]
    return kinds + nobody


def _numbers() -> list[Kind]:
    return [
        Kind(name="timestamp 2^63", change=_having(timestamp=_FAR)),
        Kind(name="timestamp 2^64 - 1", change=_having(timestamp=b"\xff" * 8)),
        Kind(
            name="timestamp of the year 10000",
            change=_having(timestamp=integer(253402300800)[1:]),
            to=_NONE,
        ),
        Kind(name="priority 255", change=_having(priority=b"\xff"), to=_REQUEST),
        Kind(name="priority 10", change=_having(priority=b"\x0a"), to=_REQUEST),
        Kind(name="delivery mode 0", change=_having(delivery_mode=b"\x00"), to=_NONE),
        Kind(name="delivery mode 255", change=_having(delivery_mode=b"\xff"), to=_NONE),
        Kind(name="expiration negative", change=_having(expiration=short(b"-1"))),
        Kind(name="expiration in words", change=_having(expiration=short(b"soon"))),
        Kind(name="expiration fractional", change=_having(expiration=short(b"1e3"))),
        Kind(name="expiration of 200 digits", change=_having(expiration=short(b"9" * 200))),
        Kind(
            name="expiration of 60 years",
            change=_having(expiration=short(b"1892160000000")),
            to=_NONE,
        ),
        Kind(name="version 2", change=_header(b"x-warren-version", integer(2))),
        Kind(name="version -1", change=_header(b"x-warren-version", integer(-1))),
        Kind(name="version as text", change=_header(b"x-warren-version", text(b"1"))),
        Kind(name="no version", change=_header(b"x-warren-version", None)),
        *(
            Kind(
                name=f"{name} of {value}", change=_header(_READ[name], integer(value)), to=_REQUEST
            )
            for name in ("deadline", "submitted")
            for value in (-1, -(2**63), 2**63 - 1, 253_370_764_800_001)
        ),
        Kind(name="no submitted", change=_header(b"x-warren-submitted", None), to=_REQUEST),
    ]


def _types() -> list[Kind]:
    """Give every type of AMQP in every header that is read; text where text belongs is in order."""
    kinds = []
    for header, name in _READ.items():
        number = header in {"version", "deadline", "submitted"}
        to = {
            "version": _ALL,
            "key": _REQUEST | _ASK,
            "ask": _ASK,
            "job": _ASK | _REPLY,
            "status": _REPLY,
        }.get(header, _REQUEST)
        for kind, value in _TYPED.items():
            fits = (
                kind.startswith(("int", "uint"))
                if number
                else "string" in kind or kind == "byte array"
            )
            if not fits and kind != "void":
                kinds.append(Kind(name=f"{header} as {kind}", change=_header(name, value), to=to))
    return kinds


def _tables() -> list[Kind]:
    return [
        Kind(name="a header's instant 2^63", change=_header(b"t", b"T" + _FAR)),
        Kind(name="a header's instant 2^64 - 1", change=_header(b"t", b"T" + b"\xff" * 8)),
        Kind(name="invalid UTF-8 in a header's name", change=_header(_INVALID, b"V")),
        Kind(name="invalid UTF-8 in a header", change=_header(b"s", text(_INVALID)), to=_NONE),
        Kind(
            name="invalid UTF-8 in the key",
            change=_header(_READ["key"], text(_INVALID)),
            to=_REQUEST | _ASK,
        ),
        Kind(
            name="a key of 300 characters",
            change=_header(_READ["key"], text(b"k" * 300)),
            to=_REQUEST | _ASK,
        ),
        Kind(name="a header without a name", change=_header(b"", b"V"), to=_NONE),
        Kind(name="a name of 255 bytes", change=_header(b"n" * 255, b"V"), to=_NONE),
        Kind(
            name="a path of another kind",
            change=_header(_READ["path"], text(b"/v1/../admin")),
            to=_REQUEST,
        ),
        Kind(
            name="a dedupe of another kind",
            change=_header(_READ["dedupe"], text(b"always")),
            to=_REQUEST,
        ),
        Kind(name="tables nested 9 deep", change=_header(b"n", _nested(9))),
        Kind(name="tables nested 600 deep", change=_header(b"n", _nested(600))),
        Kind(name="tables nested 5000 deep", change=_header(b"n", _nested(5000))),
        Kind(name="arrays nested 600 deep", change=_header(b"n", _nested(600, b"A"))),
        Kind(name="arrays nested 5000 deep", change=_header(b"n", _nested(5000, b"A"))),
        Kind(name="ten thousand headers", change=_many),
        Kind(name="one header twice", change=_twice, to=_NONE),
        Kind(name="a header of 60,000 bytes", change=_header(b"h", text(b"h" * 60_000)), to=_NONE),
        Kind(
            name="a header of 120,000 bytes", change=_header(b"h", text(b"h" * 120_000)), to=_NONE
        ),
        Kind(
            name="120,000 bytes and no version",
            change=_chain(_header(b"h", text(b"h" * 120_000)), _header(b"x-warren-version", None)),
        ),
        Kind(name="headers that are none of any type", change=_every_type, to=_NONE),
        Kind(name="a float that is infinite", change=_header(b"f", b"f\x7f\x80\x00\x00"), to=_NONE),
        Kind(
            name="a double that is no number",
            change=_header(b"d", b"d\x7f\xf8" + b"\x00" * 6),
            to=_NONE,
        ),
        Kind(name="an unknown type", change=_header(b"u", b"?")),
        Kind(name="a type of another AMQP", change=_header(b"u", b"L" + _FAR), to=_NONE),
        Kind(name="a table longer than the frame", change=_having(headers=b"\x7f\xff\xff\xff")),
        Kind(name="a table cut in a name", change=_having(headers=long(b"\x09abc"))),
        Kind(
            name="a table cut in a value",
            change=_having(headers=long(short(b"a") + b"S\x00\x00\x00\x09x")),
        ),
        Kind(name="a table that ends after a name", change=_having(headers=long(short(b"a")))),
        Kind(name="an array cut short", change=_header(b"a", b"A" + long(b"I\x00"))),
        Kind(name="an array longer than its table", change=_header(b"a", b"A\x00\x00\xff\xff")),
        Kind(name="an empty table", change=_having(headers=table(()))),
        Kind(
            name="a decimal of 255 places", change=_header(b"d", b"D\xff\xff\xff\xff\xff"), to=_NONE
        ),
    ]


def _frames() -> list[Kind]:
    return [
        Kind(name="no properties at all", change=_raw(b"\x00\x00")),
        Kind(name="flags and nothing behind", change=_raw(b"\xff\xfc")),
        Kind(name="flags that go on", change=_raw(b"\x80\x01\x00\x00" + short(b"a"))),
        Kind(name="flags that nobody knows", change=_raw(b"\x00\x02")),
        Kind(
            name="bytes behind the properties",
            change=lambda draft: replace(draft, raw=draft.payload()[12:] + b"rest"),
            to=_NONE,
        ),
        Kind(name="a routing key that is not UTF-8", change=_key(_INVALID), to=_NONE),
        Kind(name="a blind copy, its key not UTF-8", change=_key(_INVALID, bcc=True), to=_NONE),
        Kind(name="copies that are no list", change=_header(b"CC", text(b"standard.bulk"))),
        Kind(
            name="copies to whom no one may write",
            change=_header(b"CC", b"A" + long(text(b"quarantine") + text(b"warren.quarantine"))),
            to=_NONE,
        ),
        Kind(
            name="the reader's own header",
            change=_header(b"x-warren-undecodable", text(b"x")),
        ),
        Kind(
            name="the reader's own header, of bytes",
            change=_header(b"x-warren-wire", b"x" + long(b"\x00" * 40)),
            to=_NONE,
        ),
        Kind(name="no user_id", change=lambda draft: draft.lacking("user_id"), to=_REQUEST | _ASK),
        Kind(name="no correlation_id", change=lambda draft: draft.lacking("correlation_id")),
    ]


def _bodies() -> list[Kind]:
    return [
        Kind(name=f"a body of {what}", change=_body(body), to=_NONE)
        for what, body in {
            "nothing": b"",
            "one NUL": b"\x00",
            "invalid UTF-8": b'{"model":"' + _INVALID + b'"}',
            "gzip": gzip.compress(b'{"model":"m","messages":[]}'),
            "half a JSON": b'{"model":"m","messages":[',
            "JSON nested 100,000 deep": b"[" * 100_000,
            "a number of 20,000 digits": b'{"model":"m","messages":[],"seed":'
            + b"9" * 20_000
            + b"}",
            "NaN": b'{"model":"m","messages":[],"temperature":NaN}',
            "a lone surrogate": b'{"model":"\\ud800","messages":[]}',
            "2 MiB": b'{"model":"m","messages":[],"user":"' + b"x" * 2 * 1024 * 1024 + b'"}',
        }.items()
    ]


def _forged() -> list[Kind]:
    """Give what Warren or the broker write, from a producer: nobody believes it, and the message is in order."""
    return [
        Kind(name=f"a forged {name.decode()}, {number}", change=_header(name, value), to=_NONE)
        for number, (name, value) in enumerate(FORGED)
    ]


def _chain(*changes: Change) -> Change:
    def change(draft: Draft) -> Draft:
        for each in changes:
            draft = each(draft)
        return draft

    return change


def _many(draft: Draft) -> Draft:
    more = tuple((b"%d" % number, b"t\x01") for number in range(10_000))
    return replace(draft, headers=(*draft.headers, *more))


def _twice(draft: Draft) -> Draft:
    return replace(draft, headers=(*draft.headers, (b"x-warren-version", integer(1))))


def _every_type(draft: Draft) -> Draft:
    more = tuple((kind.encode(), value) for kind, value in _TYPED.items())
    return replace(draft, headers=(*draft.headers, *more))


_DEATH: Final = table(
    [
        (b"queue", text(b"warren.park.2s")),
        (b"count", integer(99)),
        (b"reason", text(b"expired")),
        (b"exchange", text(b"warren.park")),
    ]
)
# Headers that only Warren or the broker may write.
FORGED: Final = (
    (b"x-warren-tenant", text(b"producer")),
    (b"x-warren-tenant", text(b"stranger")),
    (b"x-warren-run", integer(2)),
    (b"x-warren-run", integer(7)),
    (b"x-warren-run", text(b"many")),
    (b"x-warren-generation", integer(7)),
    (b"x-warren-generation", integer(-7)),
    (b"x-warren-attempts", integer(2**40)),
    (b"x-warren-received", integer(1)),
    (b"x-warren-not-before", integer(253_370_764_800_000)),
    (b"x-warren-job", text(b"0" * 32)),
    (b"x-warren-tier", text(b"premium")),
    (b"x-warren-lane", text(b"bulk")),
    (b"x-warren-reason", text(b"because")),
    (b"x-warren-wire", text(b"because")),
    (b"x-delivery-count", integer(99)),
    (b"x-first-death-exchange", text(b"warren.return")),
    (b"x-first-death-reason", text(b"expired")),
    (b"x-death", b"A" + long(b"F" + _DEATH)),
    (b"x-death", text(b"none")),
)

KINDS: Final = (
    *_properties(),
    *_numbers(),
    *_types(),
    *_tables(),
    *_frames(),
    *_bodies(),
    *_forged(),
)


def request(name: str, *, user: str = "producer", key: bytes = b"standard.interactive") -> Draft:
    """Give a request that is in order, to be answered to nobody."""
    return Draft(
        routing_key=key,
        properties={
            "delivery_mode": b"\x02",
            "correlation_id": short(name.encode()),
            "user_id": short(user.encode()),
        },
        headers=(
            (b"x-warren-version", integer(1)),
            (b"x-warren-path", text(b"/v1/chat/completions")),
            (b"x-warren-submitted", integer(1_790_000_000_000)),
        ),
        body=b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % name.encode(),
    )


def ask(name: str, *, user: str = "producer") -> Draft:
    """Give an ask that is in order."""
    return Draft(
        routing_key=b"ask",
        properties={
            "delivery_mode": b"\x02",
            "correlation_id": short(name.encode()),
            "user_id": short(user.encode()),
        },
        headers=(
            (b"x-warren-version", integer(1)),
            (b"x-warren-ask", text(b"result")),
            (b"x-warren-job", text(b"0" * 32)),
        ),
        body=name.encode(),
    )


def reply(name: str, *, route: str) -> Draft:
    """Give a reply that is in order, as a worker would send it."""
    return Draft(
        exchange=b"warren.replies",
        routing_key=route.encode(),
        properties={"delivery_mode": b"\x02", "correlation_id": short(name.encode())},
        headers=(
            (b"x-warren-version", integer(1)),
            (b"x-warren-job", text(b"0" * 32)),
            (b"x-warren-status", text(b"completed")),
        ),
        body=b"{}",
    )
