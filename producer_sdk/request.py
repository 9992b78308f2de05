"""Requests as values: what to ask, of which tier, how soon and until when."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import ValidationError

from producer_sdk.errors import InvalidRequest
from producer_sdk.wire import (
    CompletionRequest,
    Dedupe,
    Lane,
    Path,
    Priority,
    WireError,
    encode_body,
    from_ms,
    to_ms,
)

PriorityName: TypeAlias = Literal["low", "normal", "high"]
LaneName: TypeAlias = Literal["interactive", "bulk"]
DedupeName: TypeAlias = Literal["off", "inflight", "cache"]
Deadline: TypeAlias = timedelta | datetime

# The largest message that RabbitMQ takes from version 4.0 on; a larger one would close the channel
# under everybody else's publishes.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024

_TIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to submit, any number of times; `dataclasses.replace` gives a changed copy.

    `body` is the upstream API's request: bytes are sent untouched, a mapping is written as JSON. A
    `deadline` given as a duration counts from the moment of submission. Without an `idempotency_key`
    every submission is a job of its own. `dedupe` left out means the tier's default.
    """

    tier: str
    body: bytes | Mapping[str, Any]
    path: Path = "/v1/chat/completions"
    lane: Lane | LaneName = Lane.INTERACTIVE
    priority: Priority | PriorityName = Priority.NORMAL
    deadline: Deadline | None = None
    idempotency_key: str | None = None
    dedupe: Dedupe | DedupeName | None = None

    @classmethod
    def chat(
        cls,
        *,
        tier: str,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        **params: object,
    ) -> Self:
        """Ask for a chat completion; `params` are the API's other parameters."""
        return cls(tier=tier, body={"model": model, "messages": messages, **params})

    @classmethod
    def completion(
        cls, *, tier: str, model: str, prompt: str | Sequence[str], **params: object
    ) -> Self:
        """Ask for a plain completion; `params` are the API's other parameters."""
        body = {"model": model, "prompt": prompt, **params}
        return cls(tier=tier, path="/v1/completions", body=body)

    @classmethod
    def embedding(
        cls, *, tier: str, model: str, texts: str | Sequence[str], **params: object
    ) -> Self:
        """Ask for embeddings of `texts` (the API's `input`); `params` are its other parameters."""
        body = {"model": model, "input": texts, **params}
        return cls(tier=tier, path="/v1/embeddings", body=body)

    def submission(
        self, submission_id: str, *, reply_to: str | None, now: datetime
    ) -> CompletionRequest:
        """Give the wire message of one submission of this request, made at `now`.

        Raises:
            InvalidRequest: a rule is broken; the text names the rule, never the content.
        """
        _check_tier(self.tier)
        _choice(Lane, "lane", self.lane)
        dedupe = None if self.dedupe is None else _choice(Dedupe, "dedupe", self.dedupe)
        try:
            return CompletionRequest(
                submission_id=submission_id,
                path=self.path,
                body=_body(self.body),
                submitted_at=now,
                idempotency_key=self.idempotency_key,
                reply_to=reply_to,
                deadline=_instant(self.deadline, now),
                dedupe=dedupe,
                priority=_priority(self.priority),
            )
        except ValidationError as error:
            raise InvalidRequest(_problems(error)) from None


def whole_body(
    body: bytes | Mapping[str, Any] | None, params: Mapping[str, Any]
) -> bytes | Mapping[str, Any]:
    """Give the one body that a caller wrote, either whole or as keywords.

    Raises:
        InvalidRequest: both were given, or neither.
    """
    if body is not None and params:
        names = ", ".join(sorted(params))
        raise InvalidRequest(f"give either a whole body or its fields, not body= and also {names}")
    if body is None and not params:
        raise InvalidRequest("the request is empty: give model=, messages= and so on, or body=")
    return params if body is None else body


def _check_tier(tier: object) -> None:
    if not isinstance(tier, str) or _TIER.fullmatch(tier) is None:
        raise InvalidRequest("tier: must be 1 to 64 characters out of A-Z a-z 0-9 _ -")


def _body(body: bytes | Mapping[str, Any]) -> bytes:
    if isinstance(body, bytes):
        data, streams = body, _asks_to_stream(body)
    elif isinstance(body, Mapping):
        data, streams = _encoded(body), bool(body.get("stream"))
    else:
        raise InvalidRequest("body: must be bytes, or a mapping that can be written as JSON")
    if streams:
        raise InvalidRequest(
            "stream: answers are not streamed through the queue; leave stream out and await the whole reply"
        )
    if len(data) > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"body: {len(data):,} bytes are more than the {MAX_BODY_BYTES:,} that a message may have"
        )
    return data


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return encode_body(body)
    except WireError as error:
        for name, value in body.items():
            _check_field(name, value)
        raise InvalidRequest(f"body: {error}") from None


def _check_field(name: object, value: object) -> None:
    """Refuse one field of a body that is no JSON, so that its name stands in the error."""
    if not isinstance(name, str):
        raise InvalidRequest("body: the names of its fields must be strings")
    try:
        encode_body({name: value})
    except WireError as error:
        shown = name if _TIER.fullmatch(name) else "a field"
        raise InvalidRequest(f"{shown}: {error}") from None


def _asks_to_stream(body: bytes) -> bool:
    """Look into raw bytes only if they may hold the word; what is no JSON is left to the worker."""
    if b'"stream"' not in body:
        return False
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and bool(document.get("stream"))


def _instant(deadline: object, now: datetime) -> datetime | None:
    if deadline is None:
        return None
    try:
        instant = now + deadline if isinstance(deadline, timedelta) else deadline
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise InvalidRequest(
                "deadline: must be a timedelta, or an aware datetime such as datetime.now(UTC)"
            )
        return from_ms(to_ms(instant))
    except (OverflowError, WireError):
        raise InvalidRequest("deadline: must lie between the years 1970 and 9998") from None


def _priority(priority: object) -> Priority:
    for known in Priority:
        # `is`: True would equal the lowest.
        if priority is known or (isinstance(priority, str) and priority.upper() == known.name):
            return known
    if type(priority) is int and priority in set(Priority):
        return Priority(priority)
    raise InvalidRequest("priority: must be one of low, normal, high")


def _choice(kind: type[_Choice], field: str, value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise InvalidRequest(f"{field}: must be one of {', '.join(kind)}") from None


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
