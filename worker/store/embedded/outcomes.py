"""Outcomes and response bodies: the small part as JSON in the job's row, the body apart, verified when read."""

import hashlib
import json
from decimal import Decimal
from typing import Any, Final

from producer_sdk.wire import Source
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Outcome, Usage
from worker.store.embedded.instants import span_us, us_span
from worker.store.embedded.transaction import Transaction

_COUNTS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "hidden_tokens",
)


def written(outcome: Outcome) -> str:
    """Give all of an outcome but the body, as JSON."""
    match outcome:
        case Completed():
            return about(outcome)
        case Failed():
            wait = outcome.retry_after
            return json.dumps(
                {
                    "kind": outcome.kind.value,
                    "status": outcome.status,
                    "code": outcome.code,
                    "endpoint": outcome.endpoint,
                    "retry_after": None if wait is None else span_us(wait),
                    "detail": outcome.detail,
                }
            )


def about(completed: Completed) -> str:
    """Give all of a response but its body, as JSON."""
    usage, cost = completed.usage, completed.cost
    return json.dumps(
        {
            "endpoint": completed.endpoint,
            "model": completed.model,
            "usage": None if usage is None else [getattr(usage, name) for name in _COUNTS],
            "source": completed.source.value,
            "cost": None if cost is None else format(cost, "f"),
        }
    )


def read(text: str, body: bytes | None) -> Outcome | None:
    """Give the outcome that was written; None when it is a response whose body is not kept any more."""
    facts = json.loads(text)
    if "kind" in facts:
        return _failed(facts)
    return None if body is None else response(facts, body)


def response(facts: dict[str, Any], body: bytes) -> Completed:
    """Give the response that `about` has written and its body.

    What an older Warren wrote has two counts and no cost.
    """
    usage = facts["usage"]
    return Completed(
        body=body,
        endpoint=facts["endpoint"],
        model=facts["model"],
        usage=None if usage is None else Usage(**dict(zip(_COUNTS, usage, strict=False))),
        source=Source(facts["source"]),
        cost=_cost(facts),
    )


def own_cost(text: str | None) -> Decimal | None:
    """Give what the job's own call cost, of an outcome that was written; None: not known, or no response."""
    facts = {} if text is None else json.loads(text)
    return response(facts, b"").own_cost if "source" in facts else None


def keep_body(transaction: Transaction, number: int, body: bytes) -> None:
    """Store a job's response body for its lifetime."""
    expires_at = transaction.now + span_us(transaction.options.result_ttl)
    transaction.connection.execute(
        "INSERT OR REPLACE INTO bodies (job, size, sha256, expires_at, body) VALUES (?, ?, ?, ?, ?)",
        (number, len(body), hashlib.sha256(body).digest(), expires_at, body),
    )


def kept_body(transaction: Transaction, number: int, job_id: str) -> bytes | None:
    """Give a job's response body; None when it has expired, or is not what was stored."""
    found = transaction.connection.execute(
        "SELECT sha256, body FROM bodies WHERE job = ? AND expires_at > ?",
        (number, transaction.now),
    ).fetchone()
    if found is None:
        return None
    checksum, body = found
    if hashlib.sha256(body).digest() != checksum:
        transaction.damaged.append(job_id)
        return None
    return bytes(body)


def _failed(facts: dict[str, Any]) -> Failed:
    wait = facts["retry_after"]
    return Failed(
        kind=Kind(facts["kind"]),
        status=facts["status"],
        code=facts["code"],
        endpoint=facts["endpoint"],
        retry_after=None if wait is None else us_span(wait),
        detail=facts["detail"],
    )


def _cost(facts: dict[str, Any]) -> Decimal | None:
    cost = facts.get("cost")
    return None if cost is None else Decimal(cost)
