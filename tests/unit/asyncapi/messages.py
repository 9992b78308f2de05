"""Samples of every message that the models make, and the AMQP properties that they travel with."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from producer_sdk import publisher
from producer_sdk.wire import (
    Ask,
    CompletionReply,
    CompletionRequest,
    Dedupe,
    Envelope,
    Source,
    Status,
    Verb,
    job_id,
)
from tests.properties import properties_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)
JOB = job_id("billing", "invoice-17")

LEAST_REQUEST = CompletionRequest(
    submission_id="s1", path="/v1/embeddings", body=b"{}", submitted_at=NOW
)
REQUEST = CompletionRequest(
    submission_id="s1",
    path="/v1/chat/completions",
    body=b"{}",
    submitted_at=NOW,
    idempotency_key="k",
    reply_to="billing.c",
    deadline=LATER,
    dedupe=Dedupe.CACHE,
    priority=7,
)
ASK = Ask(ask_id="a1", verb=Verb.RESULT, job_id=JOB, reply_to="billing.c")
ASK_BY_KEY = Ask(ask_id="a1", verb=Verb.CANCEL, idempotency_key="k")
LEAST_REPLY = CompletionReply(submission_id="s1", job_id=JOB, status=Status.EXPIRED, body=b"{}")
REPLY = CompletionReply(
    submission_id="s1",
    job_id=JOB,
    status=Status.COMPLETED,
    body=b"{}",
    source=Source.UPSTREAM,
    endpoint="main",
    cost=Decimal("0.01"),
)

# For each field another value than the samples have: what changes on the wire carries the field.
OF_A_REQUEST: dict[str, object] = {
    "submission_id": "s2",
    "path": "/v1/completions",
    "submitted_at": LATER,
    "idempotency_key": "other",
    "reply_to": "billing.d",
    "deadline": NOW,
    "dedupe": Dedupe.OFF,
    "priority": 1,
}
OF_AN_ASK: dict[str, object] = {
    "ask_id": "a2",
    "verb": Verb.CANCEL,
    "job_id": job_id("billing", "other"),
    "idempotency_key": "other",
    "reply_to": "billing.d",
}
OF_A_REPLY: dict[str, object] = {
    "submission_id": "s2",
    "job_id": "other",
    "status": Status.REFUSED,
    "source": Source.CACHE,
    "endpoint": "other",
    **dict.fromkeys(["run", "attempts", "tries", "waited_ms", "upstream_ms", "total_ms"], 99),
    "cost": Decimal(2),
    "recorded": False,
}


def sdk_properties(envelope: Envelope) -> dict[str, object]:
    """Give the properties of a message as the SDK makes it."""
    outgoing = publisher._Outgoing(id="s1", envelope=envelope, body=b"", key="k")
    message = publisher._message(outgoing, "billing").properties
    return {_amqp(name): value for name, value in message if name != "headers" and value}


def worker_properties(envelope: Envelope) -> dict[str, object]:
    """Give the properties of a message as the worker makes it."""
    message = properties_of(envelope, "m1")
    return {_amqp(name): value for name, value in message if name != "headers" and value}


def _amqp(name: str) -> str:
    return "type" if name == "message_type" else name
