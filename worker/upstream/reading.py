"""What the bytes of an answer say: its shape, and the few facts that are read from it. Never its texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic_core import from_json

from worker.core.classify import Reason, Shape, short_code
from worker.core.model import Usage
from worker.upstream import reasons

_LIST_OF: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "choices",
    "/v1/completions": "choices",
    "/v1/embeddings": "data",
}
_MOST_TOKENS: Final = 1 << 53
_LONGEST_MODEL: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a 2xx answer holds. `code` and `error_type` only for the shape ERROR.

    `usage` also of an answer that is no completion: it was worked on, and is charged for.
    """

    shape: Shape
    model: str | None = None
    usage: Usage | None = None
    code: str | None = None
    error_type: str | None = None


def completion(path: str, body: bytes) -> Reading:
    """Read the body of a 2xx answer, decoding it once. Never raises for what is in it."""
    content = _decode(body)
    if content is None:
        return Reading(shape=_shape_of_no_json(body))
    if not isinstance(content, dict):
        return Reading(shape=Shape.INCOMPLETE)
    get = content.get
    model, usage = _model(get("model")), _usage(get("usage"), get("service_tier"))
    if get("error"):
        code, error_type = _codes(content)
        return Reading(
            shape=Shape.ERROR, model=model, usage=usage, code=code, error_type=error_type
        )
    shape = Shape.COMPLETION if _is_complete(path, content) else Shape.INCOMPLETE
    return Reading(shape=shape, model=model, usage=usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the body of an error says; each None: nothing, or nothing that may be kept."""

    code: str | None = None
    error_type: str | None = None
    reason: Reason | None = None
    retry_after: timedelta | None = None


def refusal(body: bytes) -> Refusal:
    """Read the body of an error. Never raises for what is in it, and keeps none of its texts.

    Knows OpenAI's shape, Gemini's (a list around it, a status word, details), Anthropic's, Mistral's and vLLM's (without
    the outer object), xAI's (the text in the place of the object) and Azure API Management's.
    """
    content = _decode(body) if body else None
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return Refusal()
    code, error_type = _codes(content)
    error = _error(content)
    return Refusal(
        code=code,
        error_type=error_type,
        reason=reasons.reason_of(error),
        retry_after=reasons.retry_delay(error),
    )


def _error(content: Mapping[str, object]) -> Mapping[str, object]:
    """Give the object that tells of the error, in whatever place the provider puts it."""
    error = content.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else content


def _decode(body: bytes) -> object:
    """Give the JSON value, or None for what is none (or `null`, which is no answer either)."""
    try:
        # A third of the time, a fifth with many numbers. It keeps no text for the next answer, but names of members.
        return from_json(body, cache_strings="keys")
    except ValueError:
        pass
    try:
        # The standard library reads all that the other reads, and more: halves of surrogate pairs, UTF-16, a byte order
        # mark, deep nesting. No answer is lost for the sake of speed.
        return json.loads(body)
    except (ValueError, RecursionError):  # bad bytes, bad JSON, absurd numbers; absurd nesting
        return None


def _shape_of_no_json(body: bytes) -> Shape:
    begins = body.lstrip()[:1]
    if not begins:
        return Shape.NOTHING
    return Shape.PAGE if begins == b"<" else Shape.NOT_JSON


def _codes(content: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Give code and type. Google's code is its HTTP status again: its word says more."""
    error = content.get("error", content if content.get("object") == "error" else None)
    if not isinstance(error, dict):
        return None, None
    code = error.get("code")
    word = short_code(reasons.google_word(error)) if isinstance(code, int) else None
    return word or short_code(code), short_code(error.get("type"))


def _is_complete(path: str, content: Mapping[str, object]) -> bool:
    name = _LIST_OF.get(path)
    if name is None:
        return True  # a path without a rule: any object will do
    found = content.get(name)
    return isinstance(found, list) and bool(found)


def _model(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_MODEL:
        return None
    return value if value.isprintable() else None


def _usage(value: object, service_tier: object) -> Usage | None:
    """Read the counts and at which rate they are charged; embeddings have no completion tokens, and a gateway may send anything."""
    if not isinstance(value, dict):
        return None
    get = value.get
    prompt, made = _count(get("prompt_tokens")), _count(get("completion_tokens", 0))
    if prompt is None or made is None:
        return None
    cached = written = 0
    if isinstance(details := get("prompt_tokens_details"), dict):
        cached = _count(details.get("cached_tokens")) or 0
        written = _count(details.get("cache_write_tokens")) or 0
    hidden = (_count(get("total_tokens")) or 0) - prompt - made
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=made,
        cached_tokens=cached,
        cache_write_tokens=written,
        hidden_tokens=max(0, hidden),
        service_tier=None if service_tier is None else short_code(service_tier),
    )


def _count(value: object) -> int | None:
    # No bool, which is an int to `isinstance`.
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
