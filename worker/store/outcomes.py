"""Outcomes as the stores keep them: all but the body as a small JSON text; the body lies apart."""

import json
from decimal import Decimal
from typing import Any, Final

from producer_sdk.wire import Source
from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Completed, Failed, Outcome, Usage
from worker.store.instants import span_us, us_span

_COUNTS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "hidden_tokens",
)

_quoted: Final = json.encoder.encode_basestring_ascii
_FALLBACK: Final = ', "fallback": true'
# These ends are no word about the request itself: another job with the same request may do better.
_OWN_ENDS: Final = frozenset(
    {Kind.ATTEMPTS_EXHAUSTED, Kind.REFUSALS_EXHAUSTED, Kind.INTERNAL_ERROR}
)


def shareable(outcome: Outcome) -> bool:
    """Tell whether an outcome under a claim holds for those too who followed it."""
    match outcome:
        case Completed():
            return True
        case Failed(kind=kind):
            return RULES[kind].cure is Cure.NONE and kind not in _OWN_ENDS


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
                    "cost": None if outcome.cost is None else format(outcome.cost, "f"),
                }
            )


def about(completed: Completed) -> str:
    """Give all of a response but its body, as JSON."""
    usage, cost = completed.usage, completed.cost
    # By hand: it is written for every job, and a JSON encoder costs five times as much.
    counts = (
        "null"
        if usage is None
        else f"[{usage.prompt_tokens}, {usage.completion_tokens}, {usage.cached_tokens},"
        f" {usage.cache_write_tokens}, {usage.hidden_tokens}]"
    )
    return (
        f'{{"endpoint": {_quoted(completed.endpoint)}, "model": {_text(completed.model)},'
        f' "usage": {counts}, "source": {_quoted(completed.source.value)},'
        f' "cost": {"null" if cost is None else _quoted(format(cost, "f"))}'
        f"{_FALLBACK if completed.fallback else ''}}}"
    )


def _text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def read(text: str, body: bytes | None) -> Outcome | None:
    """Give the outcome that was written; None when it is a response whose body is not kept any more."""
    facts = json.loads(text)
    if "kind" in facts:
        return _failed(facts)
    return None if body is None else response(facts, body)


def response(facts: dict[str, Any], body: bytes) -> Completed:
    """Give the response that `about` has written and its body.

    What an older Warren wrote has two counts and no cost, and knows no fallback.
    """
    usage = facts["usage"]
    return Completed(
        body=body,
        endpoint=facts["endpoint"],
        model=facts["model"],
        usage=None if usage is None else Usage(**dict(zip(_COUNTS, usage, strict=False))),
        source=Source(facts["source"]),
        cost=_cost(facts),
        fallback=facts.get("fallback", False),
    )


def own_cost(text: str | None) -> Decimal | None:
    """Give what the job's own call cost, of an outcome that was written; None: not known, or no response."""
    facts = {} if text is None else json.loads(text)
    return response(facts, b"").own_cost if "source" in facts else None


def _failed(facts: dict[str, Any]) -> Failed:
    wait = facts["retry_after"]
    return Failed(
        kind=Kind(facts["kind"]),
        status=facts["status"],
        code=facts["code"],
        endpoint=facts["endpoint"],
        retry_after=None if wait is None else us_span(wait),
        detail=facts["detail"],
        cost=_cost(facts),
    )


def _cost(facts: dict[str, Any]) -> Decimal | None:
    cost = facts.get("cost")
    return None if cost is None else Decimal(cost)
