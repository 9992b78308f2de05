"""Fuzzed envelopes: random AMQP frames through the reader, the library's decoder, the codec, and out again."""

import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

import pamqp.frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from producer_sdk import tolerance
from producer_sdk.tolerance import HEAD
from producer_sdk.wire import PATHS, CompletionReply, Dedupe, Envelope, Lane, WireError
from tests.faults.noise import MARK, Noise
from tests.faults.rawamqp import BITS, short
from tests.properties import properties_of
from worker.broker.asks import read_ask
from worker.broker.channels import Pushed
from worker.broker.codec import TierRules, parked_copy, read
from worker.broker.deadletters import quarantined, read_letter
from worker.broker.incoming import Incoming
from worker.core.model import Job
from worker.errors import Unreadable

if TYPE_CHECKING:
    from aiormq.channel import Channel

NOW: Final = datetime(2026, 11, 26, tzinfo=UTC)
RULES: Final = TierRules(
    tier="standard",
    lane=Lane.INTERACTIVE,
    dedupe=Dedupe.CACHE,
    default_deadline=timedelta(minutes=5),
    max_deadline=timedelta(days=1),
)
_FRAME: Final = 131_072
_TEXTS: Final = (b"x-warren-path", b"x-warren-key", b"x-warren-dedupe", b"x-warren-ask", b"x-warren-status", b"x-warren-lane", b"x-warren-tier", b"x-warren-tenant")  # fmt: skip
_NUMBERS: Final = (b"x-warren-version", b"x-warren-submitted", b"x-warren-deadline", b"x-warren-run", b"x-warren-generation", b"x-warren-received", b"x-warren-not-before", b"x-warren-died")  # fmt: skip
_OTHERS: Final = (b"x-warren-job", b"x-death", b"CC", b"x-warren-wire", b"x-warren-undecodable", b"traceparent")  # fmt: skip
_EXCHANGES: Final = ("warren.requests", "warren.return", "warren.replay", "warren.dead", "warren.control", "", "x")  # fmt: skip
_RIGHT: Final = {
    b"x-warren-path": (*(path.encode() for path in PATHS),),
    b"x-warren-dedupe": (b"off", b"inflight", b"cache"),
    b"x-warren-ask": (b"result", b"cancel"),
    b"x-warren-status": (b"completed", b"expired"),
    b"x-warren-lane": (b"interactive", b"bulk"),
    b"x-warren-tier": (b"standard",),
    b"x-warren-tenant": (b"acme",),
}


def message(noise: Noise) -> Pushed:
    """Give a message as it comes to a consumer: nine in ten are nearly in order."""
    wild = 0.1 if noise.often(0.9) else 0.6
    properties = {
        "correlation_id": short(b"s-%d" % noise.chance.getrandbits(20)),
        "user_id": short(b"acme"),
        "reply_to": short(b"acme.client"),
    }
    for name in BITS:
        if name != "headers" and noise.often(wild):
            properties[name] = _property(noise, name)
    fields = [
        _field(noise, name, wild) for name in (*_TEXTS, *_NUMBERS) if not noise.often(wild / 2)
    ]
    fields += [noise.named(name) for name in _OTHERS if noise.often(wild)]
    properties["headers"] = noise.table(fields)
    body = _body(noise)
    flags = sum(1 << BITS[name] for name in properties)
    raw = struct.pack(">HHQH", 60, 0, len(body), flags) + b"".join(
        properties[name] for name in BITS if name in properties
    )
    payload = raw[:12] + noise.damaged(raw[12:], share=wild / 2)
    exchange = noise.chance.choice(_EXCHANGES) if noise.often(0.4) else _EXCHANGES[0]
    delivery = Basic.Deliver("c", 1, exchange=exchange, routing_key="standard.interactive")
    method = pamqp.frame.marshal(delivery, 1)[HEAD.size : -1]
    return Pushed(cast("Channel", None), method, payload, body)  # nothing is done on its channel


def judge(found: Pushed) -> str:
    """Read a message as every queue's reader would; give what became of it as a job.

    Raises:
        AssertionError: a reason quotes a value, a frame grew too large, a copy reads as another job, or our own
            codec reads what the library reads otherwise.
        Exception: any that nobody declared.
    """
    incoming, decoded = found.incoming(), found.decoded()
    _same(incoming, Incoming.of(decoded))
    what, reason = "unreadable", ""
    for reading in (_as_job, _as_ask, _as_letter, _as_reply):
        try:
            if reading(incoming):
                what = "job"
        except (Unreadable, WireError) as error:
            reason = str(error)
            assert MARK not in reason, reason
            assert 0 < len(reason) < 2_000, reason
    if reason:
        _framed(quarantined(decoded, tier="standard", lane=Lane.BULK, reason=reason, now=NOW))
    return what


def _same(ours: Incoming, theirs: Incoming) -> None:
    """Hold our own codec against the library's, which adds the bytes that came."""
    headers = {name: value for name, value in theirs.headers.items() if name != tolerance.WIRE}
    said = {name: value for name, value in ours.headers.items() if name != tolerance.WIRE}
    assert repr(said) == repr(headers)  # not a number is equal to nothing
    assert replace(ours, headers={}) == replace(theirs, headers={})


def _as_job(incoming: Incoming) -> bool:
    job = read(incoming, rules=RULES, now=NOW)
    copy = parked_copy(job, timedelta(seconds=2))
    _framed(copy)
    back = Incoming(
        exchange="warren.return",
        body=job.body,
        headers=copy.headers,
        correlation_id=copy.correlation_id,
        reply_to=copy.reply_to,
        priority=copy.priority,
    )
    again = read(back, rules=RULES, now=NOW)
    assert _identity(again) == _identity(job)
    assert MARK not in (job.flaw or "")
    return True


def _as_ask(incoming: Incoming) -> bool:
    read_ask(incoming)
    return False


def _as_letter(incoming: Incoming) -> bool:
    read_letter(incoming, tier="standard")
    return False


def _as_reply(incoming: Incoming) -> bool:
    headers = {
        name: value for name, value in incoming.headers.items() if isinstance(value, str | int)
    }
    said = incoming.correlation_id
    correlation_id = said if isinstance(said, str) else None
    CompletionReply.parse(Envelope(headers=headers, correlation_id=correlation_id), incoming.body)
    return False


def _identity(job: Job) -> tuple[object, ...]:
    return (
        job.id,
        job.tenant,
        job.key,
        job.run,
        job.generation,
        job.submission,
        job.deadline,
        job.content_hash,
    )


def _framed(envelope: Envelope) -> None:
    raw: bytes = ContentHeader(properties=properties_of(envelope, "id")).marshal()
    assert len(raw) < _FRAME


def _property(noise: Noise, name: str) -> bytes:
    match name:
        case "priority" | "delivery_mode":
            return noise.chance.randbytes(1)
        case "timestamp":
            return struct.pack(">q", noise.integer())
        case "cluster_id":
            return short(b"")
        case _:
            return short(noise.word()[:255])


def _field(noise: Noise, name: bytes, wild: float) -> bytes:
    if noise.often(wild):
        return noise.named(name)
    if name == b"x-warren-version":
        return short(name) + b"I\x00\x00\x00\x01"
    if name in {b"x-warren-run", b"x-warren-generation"}:
        return short(name) + b"I" + struct.pack(">i", noise.chance.randrange(1, 9))
    if name in _NUMBERS:
        return (
            short(name) + b"l" + struct.pack(">q", 1_790_000_000_000 + noise.chance.getrandbits(32))
        )
    right = _RIGHT.get(name)
    text = noise.chance.choice(right) if right else b"k-%d" % noise.chance.getrandbits(20)
    return short(name) + b"S" + struct.pack(">I", len(text)) + text


def _body(noise: Noise) -> bytes:
    if noise.often(0.1):
        return noise.word()
    document = {"model": "m", "messages": [noise.json()], "user": noise.json()}
    if noise.often(0.2):
        document[noise.chance.choice(("model", "stream", "store", "background"))] = noise.json()
    return noise.written(document)
