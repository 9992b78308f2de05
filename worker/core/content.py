"""What a request's body says, as far as Warren has to know it: the model, its identity, why it cannot be sent.

The body itself goes upstream byte for byte; nothing here changes it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from worker.core.ceiling import Ceiling, ceiling_of

MAX_DEPTH: Final = 100
# A body of many small values takes far longer to read than its bytes suggest: 15 MiB of `[],` took 3.5 s.
# This many take some tenths of a second; a large batch of token arrays has fewer.
MAX_VALUES: Final = 500_000

_TOO_LARGE: Final = "a number in the body is too large"
_TOO_DEEP: Final = f"the body is nested deeper than {MAX_DEPTH} levels"
_SERVER_STATE: Final = ("previous_response_id", "background", "conversation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A body, read. `model` is empty when a flaw kept it from being read.

    `content_hash` is the same for two bodies that differ in white space, key order or escapes alone.
    `shareable`: the answer depends on the request alone, not on state that the upstream keeps.
    `flaw` says why the request cannot be sent at all; it never quotes the content. `ceiling` is what a call may be
    charged for at most; None: there will be none.
    """

    model: str
    content_hash: str
    shareable: bool
    flaw: str | None
    ceiling: Ceiling | None = None


class _FlawError(ValueError):
    """Why a body is not acceptable."""


def inspect(path: str, body: bytes) -> Content:
    """Read a request's body; never raises.

    Keys that stand twice in one object are a flaw: JSON leaves open which of the two counts, so the
    upstream might see another request than the one that was hashed.
    """
    try:
        return _read(path, body)
    except _FlawError as flaw:
        text = str(flaw)
    except RecursionError:  # the parser's or the writer's own bound came first
        text = _TOO_DEEP
    return Content(model="", content_hash=_hash(path, body), shareable=False, flaw=text)


def _read(path: str, body: bytes) -> Content:
    document = _parse(body)
    if document.get("stream") not in (None, False):
        raise _FlawError("stream: streaming is not supported yet")
    return Content(
        model=_model(document),
        content_hash=_hash(path, _canonical(document)),
        shareable=_shareable(document),
        flaw=None,
        ceiling=ceiling_of(path, body, document),
    )


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_VALUES and body.count(b",") > MAX_VALUES:
        raise _FlawError(f"the body has more than {MAX_VALUES} values")
    try:
        document = _read_json(body.decode())
    except UnicodeDecodeError:
        raise _FlawError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _FlawError(f"the body is not JSON, at character {error.pos}") from None
    except _FlawError:
        raise
    except ValueError:  # an integer of more than 4,300 digits, Python's bound
        raise _FlawError(_TOO_LARGE) from None
    if not isinstance(document, dict):
        raise _FlawError("the body must be a JSON object")
    # Fewer brackets than levels are not nested too deep, and no ordinary body has as many.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_too_deep(document):
        raise _FlawError(_TOO_DEEP)
    return document


def _is_too_deep(document: dict[str, Any]) -> bool:
    level: list[object] = [document]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _FlawError("an object in the body has the same key twice")
    return members


def _no_number(_: str) -> NoReturn:
    raise _FlawError("the body is not JSON: NaN and Infinity are no numbers")


_READER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)
_WRITE: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def _read_json(text: str) -> Any:  # noqa: ANN401  # JSON has no narrower type
    """Give what a text says; `decode` alone looks for white space around it, of which few bodies have any."""
    try:
        value, end = _READER.raw_decode(text)
    except json.JSONDecodeError:
        end = -1
    return value if end == len(text) else _READER.decode(text)


def _children(value: object) -> Iterator[object]:
    """Give the objects and arrays directly inside one."""
    members: Iterable[object] = ()
    if isinstance(value, dict):
        members = value.values()
    elif isinstance(value, list):
        members = value
    return (member for member in members if isinstance(member, dict | list))


def _model(document: dict[str, Any]) -> str:
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise _FlawError("model: must be a non-empty string")
    try:
        model.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can write it, nothing can store it
        raise _FlawError("model: must be Unicode text") from None
    return model


def _canonical(document: dict[str, Any]) -> bytes:
    try:
        return _WRITE(document).encode()
    except ValueError:  # 1e999 is read as infinity
        raise _FlawError(_TOO_LARGE) from None


def _shareable(document: dict[str, Any]) -> bool:
    get = document.get
    return get("store") in (None, False) and not any(map(get, _SERVER_STATE))


def _hash(path: str, content: bytes) -> str:
    return hashlib.sha256(path.encode() + b"\0" + content).hexdigest()
