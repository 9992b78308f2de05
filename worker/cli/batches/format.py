"""OpenAI's Batch format: what a line of the input asks for. Pure.

Input: `{"custom_id", "method", "url", "body"}`. A flaw's text names the rule, never the line's content.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from producer_sdk.wire import PATHS, Path, WireError, encode_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A readable line of the input; `number` counts from 1."""

    number: int
    custom_id: str
    path: Path
    body: bytes

    @property
    def digest(self) -> int:
        """A digest of the request, in 64 bits."""
        return int.from_bytes(hashlib.sha256(self.path.encode() + b"\0" + self.body).digest()[:8])


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Why a line has no result."""

    number: int
    custom_id: str | None
    code: str
    message: str


class _Flawed(Exception):  # noqa: N818  # it never leaves this module
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_line(number: int, data: bytes | None, *, model: str | None = None) -> Line | Flaw | None:
    """Give what a line of the input says, asking for `model` if that is given; None: it is blank.

    `data` is None for a line that was too long to be kept.
    """
    custom_id = None
    try:
        if data is not None and not data.strip():
            return None
        document = _object(data, first=number == 1)
        given = document.get("custom_id")
        custom_id = _written(given) if isinstance(given, str) else None
        return Line(
            number=number,
            custom_id=_custom_id(document),
            path=_path(document),
            body=_body(document, model),
        )
    except _Flawed as flaw:
        return Flaw(number=number, custom_id=custom_id, code=flaw.code, message=str(flaw))


def _object(data: bytes | None, *, first: bool) -> Mapping[str, Any]:
    if data is None:
        raise _Flawed("line_too_long", "the line is longer than any request may be")
    try:
        text = data.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise _Flawed("invalid_utf8", f"byte {error.start + 1} is not UTF-8") from None
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _Flawed("invalid_json", f"column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError):
        raise _Flawed("invalid_json", "a number is too long, or it is nested too deep") from None
    if not isinstance(document, dict):
        raise _Flawed("invalid_type", "a line must be a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise _Flawed("invalid_json", f"{name} is no JSON number")


def _custom_id(document: Mapping[str, Any]) -> str:
    custom_id = _text(document, "custom_id")
    if _written(custom_id) is None:
        raise _Flawed("invalid_custom_id", "custom_id: holds half of a surrogate pair")
    return custom_id


def _written(text: str) -> str | None:
    """Give a text that can be written as UTF-8, else None."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def _path(document: Mapping[str, Any]) -> Path:
    if _text(document, "method") != "POST":
        raise _Flawed("unknown_method", "method: must be POST")
    url = _text(document, "url")
    if url not in PATHS:
        raise _Flawed("unknown_url", f"url: must be one of {', '.join(PATHS)}")
    return cast("Path", url)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None or value == "":
        raise _Flawed(f"missing_{name}", f"{name}: is missing or empty")
    if not isinstance(value, str):
        raise _Flawed("invalid_type", f"{name}: must be a string")
    return value


def _body(document: Mapping[str, Any], model: str | None) -> bytes:
    body = document.get("body")
    if body is None:
        raise _Flawed("missing_body", "body: is missing")
    if not isinstance(body, dict):
        raise _Flawed("invalid_type", "body: must be an object")
    try:
        return encode_body(body if model is None else body | {"model": model})
    except WireError:
        # What JSON can say and no other reader must understand: 1e999, half of a surrogate pair.
        raise _Flawed(
            "invalid_json", "body: holds a number or a text that no JSON can hold"
        ) from None
