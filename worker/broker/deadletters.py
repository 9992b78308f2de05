"""Dead letters and replay copies, and what is set aside because it cannot be read."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aiormq.abc import DeliveredMessage

from producer_sdk.tolerance import UNDECODABLE
from producer_sdk.wire import Dedupe, Envelope, HeaderValue, Lane, from_ms, to_ms
from worker.broker import names
from worker.broker.codec import TierRules, build, envelope, instant, job_headers, read_standing
from worker.broker.incoming import Incoming
from worker.core.model import Failed, HistoryEntry, Job, Record
from worker.errors import Unreadable

# Bytes. All headers of a message share one AMQP frame, 128 KiB by default.
_HISTORY_ROOM: Final = 16 * 1024
_ORIGINAL_ROOM: Final = 16 * 1024
_WIRE_ROOM: Final = 64 * 1024
_VALUE_ROOM: Final = 1024
_CODE_ROOM: Final = 128
_SHORTEST_SPAN: Final = timedelta(minutes=1)
# The broker puts it on every message that it dead-letters by itself, and nobody can take it off again.
_MARK_OF_THE_BROKER: Final = "x-death"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """A dead letter, read: the job as it died, and why."""

    job: Job
    kind: str | None
    died_at: datetime


def dead_letter(
    job: Job, record: Record, history: Sequence[HistoryEntry], died_at: datetime
) -> Envelope:
    """Give a dead letter's envelope; its body is the job's. A long history loses its oldest entries."""
    headers = job_headers(job) | {
        names.JOB: job.id,
        names.TIER: job.tier,
        names.LANE: job.lane.value,
        names.ATTEMPTS: record.tally.attempts,
        names.HISTORY: _compact(history),
        names.DIED: to_ms(died_at),
    }
    headers[names.RUN] = record.run
    if record.tally.cost is not None:
        headers[names.COST] = format(record.tally.cost, "f")
    if isinstance(record.outcome, Failed):
        headers[names.KIND] = record.outcome.kind.value
        if record.outcome.status is not None:
            headers[names.STATUS] = record.outcome.status
        if record.outcome.code is not None:
            headers[names.CODE] = record.outcome.code[:_CODE_ROOM]
    return envelope(job, headers, kind="warren.dead")


def read_letter(incoming: Incoming, *, tier: str) -> DeadJob:
    """Give the dead letter that a message in the tier's dead-letter queue is.

    The broker's own dead-lettering ends there too, with headers that the producer wrote; nothing in
    those is believed.

    Raises:
        Unreadable: it was not written by a worker, or breaks a rule.
    """
    if incoming.exchange != names.DEAD_EXCHANGE or incoming.user_id is not None:
        raise Unreadable("it was not written by a worker")
    if _MARK_OF_THE_BROKER in incoming.headers:
        raise Unreadable("the broker dead-lettered it by itself: no worker has seen it")
    died_at = instant(incoming, names.DIED)
    deadline = instant(incoming, "x-warren-deadline")
    if died_at is None or deadline is None or incoming.text(names.TIER) != tier:
        raise Unreadable("it lacks what a dead letter of this tier has")
    standing = read_standing(incoming, died_at)
    try:
        lane = Lane(incoming.text(names.LANE) or "")
    except ValueError:
        raise Unreadable(f"{names.LANE}: must be one of the lanes") from None
    span = max(deadline - standing.received_at, timedelta(0))
    rules = TierRules(
        tier=tier, lane=lane, dedupe=Dedupe.OFF, default_deadline=span, max_deadline=span
    )
    job = build(incoming, standing, rules=rules)
    return DeadJob(job=job, kind=incoming.text(names.KIND), died_at=died_at)


def replay_copy(dead: DeadJob, *, now: datetime, span: timedelta | None) -> tuple[Job, Envelope]:
    """Give the job as its next run, and the envelope that carries it; the body is the job's.

    It has `span` from now, or as long as it had at first (at least a minute).
    """
    old, now = dead.job, from_ms(to_ms(now))
    lasting = span or max(old.deadline - old.received_at, _SHORTEST_SPAN)
    job = replace(
        old,
        run=old.run + 1,
        generation=0,
        received_at=now,
        deadline=now + lasting,
        not_before=None,
    )
    return job, envelope(job, job_headers(job), kind="warren.replay")


def quarantined(
    message: DeliveredMessage, *, tier: str, lane: Lane, reason: str, now: datetime
) -> Envelope:
    """Give the envelope under which a message is set aside; its body is the message's, byte for byte.

    So are its properties, in one header, as long as they are shorter than 64 KiB.
    """
    wire = (message.header.properties.headers or {}).get(names.WIRE, b"")
    wire = wire if isinstance(wire, bytes | bytearray) else b""  # always bytes, from our own reader
    headers: dict[str, HeaderValue] = {
        names.REASON: reason,
        names.TIER: tier,
        names.LANE: lane.value,
        names.ORIGINAL: _told(message),
        names.WIRE: b64encode(wire[:_WIRE_ROOM]).decode(),
        names.WIRE_SIZE: len(wire),
        names.DIED: to_ms(now),
    }
    return Envelope(
        headers=headers, content_type="application/octet-stream", kind="warren.quarantine"
    )


def _compact(history: Sequence[HistoryEntry]) -> str:
    """Write the newest entries as JSON, oldest first, as many as there is room for."""
    kept: list[str] = []
    room = _HISTORY_ROOM - 2
    for entry in reversed(history):
        written = _dense(_entry(entry))
        room -= len(written) + 1
        if room < 0:
            break
        kept.append(written)
    return f"[{','.join(reversed(kept))}]"


def _entry(entry: HistoryEntry) -> dict[str, Any]:
    members = {
        "at": to_ms(entry.at),
        "run": entry.run,
        "generation": entry.generation,
        "attempt": entry.attempt,
        "what": entry.what,
        "kind": entry.kind,
        "status": entry.status,
        "endpoint": entry.endpoint,
        "calls": entry.calls,
        "upstream_ms": entry.upstream_ms,
    }
    return {name: value for name, value in members.items() if value is not None}


def _told(message: DeliveredMessage) -> str:
    """Tell a message's properties and headers, of whatever type, as JSON of bounded size."""
    told: dict[str, Any] = {"exchange": message.exchange, "routing_key": message.routing_key}
    for name, value in message.header.properties:
        if name != "headers" and value is not None:
            told[name] = _text(value)
    told["headers"] = {}
    room = _ORIGINAL_ROOM - len(_dense(told))
    headers: Mapping[str, object] = message.header.properties.headers or {}
    for name, content in headers.items():
        if name in {names.WIRE, UNDECODABLE}:
            continue
        said = _text(content)
        room -= len(_dense([name, said]))
        if room < 0:
            told["headers_left_out"] = True
            break
        told["headers"][name] = said
    return _dense(told)


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return value[:_VALUE_ROOM].hex()
    try:
        return str(value)[:_VALUE_ROOM]
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown"


def _dense(value: object) -> str:
    """Write JSON in ASCII, so that characters are bytes."""
    return json.dumps(value, separators=(",", ":"))
