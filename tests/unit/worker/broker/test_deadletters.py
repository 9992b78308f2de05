import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from producer_sdk.wire import Envelope, Lane
from tests.properties import properties_of
from tests.unit.worker.broker.jobs import NOW, RULES, arrived, jobs
from worker.broker.codec import read
from worker.broker.deadletters import dead_letter, quarantined, read_letter, replay_copy
from worker.broker.incoming import Incoming
from worker.core.kinds import Kind
from worker.core.model import Failed, HistoryEntry, Job, Outcome, Record, State, Tally
from worker.errors import Unreadable


def record(job: Job, outcome: Outcome | None) -> Record:
    return Record(
        job_id=job.id,
        run=job.run,
        state=State.DEAD_LETTERED,
        outcome=outcome,
        tally=Tally(attempts=3),
        waited=timedelta(),
        upstream=timedelta(),
        total=timedelta(),
    )


FAILED = Failed(kind=Kind.TIMEOUT, status=504, code="slow" * 100)


def letter(job: Job, history: list[HistoryEntry] | None = None) -> Incoming:
    envelope = dead_letter(job, record(job, FAILED), history or [], NOW)
    return arrived(envelope, job.body, "warren.dead")


def changed(message: Incoming, headers: dict[str, object], **parts: Any) -> Incoming:  # noqa: ANN401
    return replace(message, headers={**message.headers, **headers}, **parts)


@given(jobs())
def test_a_dead_letter_is_read_as_the_job_that_died(job: Job) -> None:
    dead = read_letter(letter(job), tier=job.tier)
    kept = replace(job, not_before=None, deadline=max(job.deadline, job.received_at))
    assert replace(dead.job, deadline=max(dead.job.deadline, job.received_at)) == kept
    assert (dead.kind, dead.died_at) == ("timeout", NOW)


@given(jobs())
def test_a_replay_copy_is_read_as_the_next_run_with_its_time_anew(job: Job) -> None:
    dead = read_letter(letter(job), tier=job.tier)
    made, envelope = replay_copy(dead, now=NOW, span=None)
    assert read(arrived(envelope, made.body, "warren.replay"), rules=RULES, now=NOW) == made
    assert (made.run, made.generation, made.received_at) == (job.run + 1, 0, NOW)
    assert made.deadline - NOW == max(job.deadline - job.received_at, timedelta(minutes=1))
    assert (made.id, made.submission, made.content_hash) == (
        job.id,
        job.submission,
        job.content_hash,
    )


@given(jobs())
def test_headers_tell_all_that_is_known_and_no_content(job: Job) -> None:
    headers = dead_letter(job, record(job, FAILED), [], NOW).headers
    assert headers["x-warren-kind"] == "timeout"
    assert headers["x-warren-status"] == 504
    assert headers["x-warren-code"] == ("slow" * 100)[:128]
    assert (headers["x-warren-attempts"], headers["x-warren-job"]) == (3, job.id)
    assert (headers["x-warren-tier"], headers["x-warren-lane"]) == ("standard", "interactive")


@given(jobs(), st.integers(min_value=0, max_value=400))
def test_a_long_history_keeps_its_newest_entries_within_bounds(job: Job, count: int) -> None:
    history = [
        HistoryEntry(at=NOW, run=1, generation=number, attempt=1, what="attempt", kind="timeout")
        for number in range(count)
    ]
    text = str(dead_letter(job, record(job, None), history, NOW).headers["x-warren-history"])
    kept = [entry["generation"] for entry in json.loads(text)]
    assert len(text) <= 16 * 1024
    assert kept == list(range(count))[count - len(kept) :]
    assert len(kept) == count or len(text) > 16 * 1024 - 200


@given(jobs())
def test_what_the_broker_dead_lettered_by_itself_is_not_a_letter(job: Job) -> None:
    good = letter(job)
    for bad in (
        changed(good, {"x-death": [{"reason": "expired"}]}),
        changed(good, {"x-death": None}),
        changed(good, {}, user_id="acme"),
        changed(good, {}, exchange="warren.requests"),
        changed(good, {"x-warren-tier": "premium"}),
        changed(good, {"x-warren-lane": "fast"}),
        changed(good, {"x-warren-died": "yesterday"}),
        changed(good, {"x-warren-deadline": None}),
    ):
        with pytest.raises(Unreadable):
            read_letter(bad, tier=job.tier)


def delivered(headers: dict[str, Any], **properties: Any) -> DeliveredMessage:  # noqa: ANN401
    header = ContentHeader(properties=Basic.Properties(headers=headers, **properties))
    delivery = Basic.Deliver(exchange="warren.requests", routing_key="standard.interactive")
    return DeliveredMessage(delivery=delivery, header=header, body=b"", channel=None)  # type: ignore[arg-type]  # nothing is done on it


@given(
    st.dictionaries(
        st.text(max_size=200),
        st.none() | st.integers() | st.text(max_size=5000) | st.binary().map(bytearray) | st.lists(st.floats()),
        max_size=50,
    )
)  # fmt: skip
def test_a_quarantined_message_tells_its_properties_in_bounded_json(
    headers: dict[str, Any],
) -> None:
    message = delivered(headers, correlation_id="c", reply_to="r")
    told = quarantined(message, tier="standard", lane=Lane.BULK, reason="why", now=NOW).headers
    original = str(told["x-warren-original"])
    assert len(original) <= 17 * 1024
    parsed = json.loads(original)
    assert (parsed["correlation_id"], parsed["exchange"]) == ("c", "warren.requests")
    # Where the reader puts the bytes of what it could not read; who sends such a header finds it in those bytes.
    theirs = set(headers) - {"x-warren-wire"}
    assert set(parsed["headers"]) <= theirs
    assert parsed.get("headers_left_out", False) or set(parsed["headers"]) == theirs
    assert (told["x-warren-reason"], told["x-warren-lane"]) == ("why", "bulk")


@pytest.mark.parametrize("size", [0, 200, 64 * 1024, 128 * 1024])
def test_a_quarantined_message_keeps_the_bytes_of_its_properties_and_fits_a_frame(
    size: int,
) -> None:
    wire = bytearray(byte % 256 for byte in range(size))
    headers = {"a" * 100 + str(number): "b" * 2000 for number in range(50)} | {
        "x-warren-wire": wire
    }
    message = delivered(headers)
    written = quarantined(message, tier="standard", lane=Lane.BULK, reason="r" * 500, now=NOW)
    assert b64decode(str(written.headers["x-warren-wire"])) == wire[: 64 * 1024]
    assert written.headers["x-warren-wire-size"] == size
    assert "x-warren-wire" not in json.loads(str(written.headers["x-warren-original"]))["headers"]
    assert len(worker_frame(written)) < 131_072


def worker_frame(envelope: Envelope) -> bytes:
    raw: bytes = ContentHeader(properties=properties_of(envelope, "id")).marshal()
    return raw
