"""Dead letters and the quarantine: the document says what the worker writes and what the replay reads."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from producer_sdk.wire import _JOB_PATTERN, Envelope, Lane
from tests.unit.asyncapi.derived import INSTANT
from tests.unit.asyncapi.document import SCHEMAS, rules, whole
from tests.unit.asyncapi.messages import worker_properties
from tests.unit.worker.broker.jobs import NOW, RULES, arrived, incoming, jobs
from worker.broker import codec, deadletters, names
from worker.broker.codec import read
from worker.broker.deadletters import dead_letter, quarantined, read_letter
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, HistoryEntry, Job, Outcome, Record, State, Tally
from worker.errors import Unreadable
from worker.settings.load import _NAME

ENTRY = HistoryEntry(
    at=NOW, run=1, generation=0, attempt=1, what="retry", kind="timeout", status=504, endpoint="main"
)  # fmt: skip
LEAST_ENTRY = replace(ENTRY, kind=None, status=None, endpoint=None)
FULL = Failed(kind=Kind.TIMEOUT, status=504, code="slow")
TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


def job(**parts: Any) -> Job:  # noqa: ANN401  # a Job's fields
    return replace(read(incoming({"x-warren-key": "k"}), rules=RULES, now=NOW), **parts)


def letter(outcome: Outcome | None, *, of: Job | None = None, unpriced: int = 0) -> Envelope:
    dead = of or job()
    record = Record(
        job_id=dead.id,
        run=dead.run,
        state=State.DEAD_LETTERED,
        outcome=outcome,
        tally=Tally(attempts=3, spent=Decimal("0.00000042"), unpriced=unpriced),
        waited=timedelta(),
        upstream=timedelta(),
        total=timedelta(),
    )
    return dead_letter(dead, record, [ENTRY], NOW)


def aside() -> Envelope:
    message = DeliveredMessage(
        delivery=Basic.Deliver(exchange="warren.requests", routing_key="standard.interactive"),
        header=ContentHeader(
            properties=Basic.Properties(headers={"x": 1, names.WIRE: bytearray(b"w")})
        ),
        body=b"",
        channel=None,  # type: ignore[arg-type]  # nothing is done on it
    )
    return quarantined(message, tier="standard", lane=Lane.BULK, reason="why", now=NOW)


LETTERS = [letter(FULL), letter(Failed(kind=Kind.EXPIRED)), letter(None, unpriced=1)]
LETTERS.append(letter(Completed(body=b"", endpoint="main")))


def always(envelopes: list[Envelope]) -> set[str]:
    return set.intersection(*(set(each.headers) for each in envelopes))


def test_a_dead_letters_headers_are_those_that_the_worker_writes() -> None:
    said = rules(SCHEMAS["DeadLetterHeaders"])
    assert said["properties"].keys() == set().union(*(each.headers for each in LETTERS))
    assert set(said["required"]) == always(LETTERS)


def test_a_dead_letter_carries_the_request_as_the_request_carries_it() -> None:
    request = rules(SCHEMAS["RequestHeaders"])["properties"]
    said = rules(SCHEMAS["DeadLetterHeaders"])["properties"]
    assert {name: said[name] for name in request} == request


def test_what_the_worker_adds_is_bounded_as_the_code_bounds_it() -> None:
    request = rules(SCHEMAS["RequestHeaders"])["properties"]
    said = rules(SCHEMAS["DeadLetterHeaders"])["properties"]
    kind = {"type": "string", "x-known-values": [kind.value for kind in Kind]}
    assert {name: it for name, it in said.items() if name not in request} == {
        names.TENANT: TEXT | {"pattern": f"^{codec._TENANT.pattern}$"},
        names.RUN: WHOLE | {"minimum": 1},
        names.GENERATION: WHOLE | {"minimum": 0},
        names.RECEIVED: INSTANT,
        names.JOB: TEXT | {"pattern": _JOB_PATTERN},
        names.TIER: TEXT | {"pattern": f"^{_NAME.pattern}$"},
        names.LANE: TEXT | {"enum": [lane.value for lane in Lane]},
        names.KIND: kind,
        names.STATUS: WHOLE,
        names.CODE: TEXT | {"maxLength": deadletters._CODE_ROOM},
        names.COST: TEXT | {"pattern": r"^[0-9]+(\.[0-9]+)?$"},
        names.ATTEMPTS: WHOLE | {"minimum": 0},
        names.HISTORY: TEXT
        | {"maxLength": deadletters._HISTORY_ROOM, "contentMediaType": "application/json"},
        names.DIED: INSTANT,
    }


@given(jobs())
def test_every_dead_letter_follows_the_document(dead: Job) -> None:
    headers = dict(letter(FULL, of=dead).headers)
    jsonschema.Draft7Validator(whole(SCHEMAS["DeadLetterHeaders"])).validate(headers)


@pytest.mark.parametrize("name", [names.RUN, names.GENERATION])
def test_the_least_count_is_the_least_that_a_replay_reads(name: str) -> None:
    least = rules(SCHEMAS["DeadLetterHeaders"])["properties"][name]["minimum"]
    dead = letter(FULL)
    for value, readable in ((least, True), (least - 1, False)):
        message = arrived(dead, b"{}", names.DEAD_EXCHANGE)
        message = replace(message, headers={**message.headers, name: value})
        try:
            read_letter(message, tier="standard")
        except Unreadable:
            assert not readable
        else:
            assert readable


def test_the_history_is_what_the_document_says() -> None:
    said = rules(SCHEMAS["History"])
    entries = [deadletters._entry(ENTRY), deadletters._entry(LEAST_ENTRY)]
    item = said["items"]
    assert item["properties"].keys() == entries[0].keys()
    assert set(item["required"]) == entries[0].keys() & entries[1].keys()
    written = json.loads(str(LETTERS[0].headers[names.HISTORY]))
    assert written == [entries[0]]
    jsonschema.Draft7Validator(said).validate(entries)


def test_a_quarantined_messages_headers_are_those_that_the_worker_writes() -> None:
    said = rules(SCHEMAS["QuarantinedHeaders"])
    written = aside().headers
    assert said["properties"].keys() == set(said["required"]) == written.keys()
    jsonschema.Draft7Validator(said).validate(dict(written))
    dead = rules(SCHEMAS["DeadLetterHeaders"])["properties"]
    for shared in (names.TIER, names.LANE, names.DIED):
        assert said["properties"][shared] == dead[shared]


@pytest.mark.parametrize(
    ("name", "envelopes"),
    [
        ("DeadLetterProperties", [letter(FULL), letter(FULL, of=job(submission=replace(job().submission, reply_to=None)))]),
        ("QuarantinedProperties", [aside()]),
    ],
)  # fmt: skip
def test_their_properties_are_those_that_the_worker_sends(
    name: str, envelopes: list[Envelope]
) -> None:
    said = rules(SCHEMAS[name])
    sending = [worker_properties(each) for each in envelopes]
    assert said["properties"].keys() == set().union(*sending)
    assert set(said["required"]) == set.intersection(*(set(each) for each in sending))
    constants = {key: it["const"] for key, it in said["properties"].items() if "const" in it}
    for each in sending:
        assert constants.items() <= each.items()
