"""What a fault does to a call: status, headers, bytes, and the manner of sending them. Pure."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Self

from simulator import answers
from simulator.ask import Ask
from simulator.faults import QUOTA, REFUSALS, Fault
from simulator.wire import Headers

DRIP_S: Final = 1.0
_JSON: Final = "application/json"
_CHUNK: Final = 1 << 20


class Manner(Enum):
    """How the bytes of a reaction travel."""

    WHOLE = auto()
    HALF_THEN_HANG = auto()
    HALF_THEN_RESET = auto()
    DRIP = auto()
    HANG = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Everything that a call will do, decided before its first byte."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    manner: Manner = Manner.WHOLE
    delay_s: float = 0.0
    drip_s: float = DRIP_S
    retire: bool = False
    """Whether the connection takes no more calls after this one."""
    tokens: int | None = None
    """What the model's answer used; None: no model worked on it."""

    def with_headers(self, more: Headers) -> Self:
        """Give the same with more headers; what sends no head stays as it is."""
        return replace(self, headers=(*self.headers, *more)) if more else self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    status: int
    kind: str
    code: str | None
    message: str


_REFUSALS: Final[Mapping[str, _Refusal]] = {
    name: _Refusal(status=status, kind=kind, code=code, message=message)
    for name, status, kind, code, message in (
        ("400", 400, "invalid_request_error", None, "The request is invalid."),
        ("401", 401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
        ("403", 403, "permission_error", "unsupported_country", "This is not allowed here."),
        ("404", 404, "invalid_request_error", "model_not_found", "The model does not exist."),
        ("408", 408, "timeout_error", None, "The request timed out."),
        ("409", 409, "conflict_error", None, "The resource was changed by another request."),
        ("429", 429, "requests", "rate_limit_exceeded", "Rate limit reached."),
        ("500", 500, "server_error", None, "The server had an error."),
        ("502", 502, "server_error", None, "Bad gateway."),
        ("503", 503, "server_error", "service_unavailable", "The service is unavailable."),
        ("529", 529, "overloaded_error", "overloaded", "The service is overloaded."),
        (
            "context_length",
            400,
            "invalid_request_error",
            "context_length_exceeded",
            "This model's maximum context length is exceeded.",
        ),
    )
}
_NO_QUOTA: Final = _Refusal(
    status=429, kind=QUOTA, code=QUOTA, message="You exceeded your current quota."
)

_WITHOUT_MODEL: Final[Mapping[str, Reaction]] = {
    "hang": Reaction(manner=Manner.HANG),
    "reset": Reaction(manner=Manner.RESET),
    "redirect": Reaction(
        status=302, headers=(("location", answers.REDIRECTED), ("content-length", "0"))
    ),
}


def react(fault: Fault, ask: Ask, *, call: int, now_s: float, latency_s: float) -> Reaction:
    """Decide what the call does. `now_s` is wall time; refusals, hangs and cuts have no latency.

    A request that is wrong in itself gets its 4xx even where a fault would spoil a good answer.
    """
    if fault.word in REFUSALS:
        return _refuse(fault, now_s)
    if fault.word in _WITHOUT_MODEL:
        return _WITHOUT_MODEL[fault.word]
    status, content = answers.answer(ask, call=call, created=int(now_s))
    if status != HTTPStatus.OK:
        return reply(status, content)
    reaction = _SPOILERS[fault.word](json.dumps(content).encode(), fault)
    delay_s = latency_s if latency_s and fault.word != "slow" else reaction.delay_s
    return replace(reaction, delay_s=delay_s, tokens=answers.tokens_used(content))


def reply(status: int, content: object) -> Reaction:
    """Give a plain JSON response."""
    return replace(_answered(json.dumps(content).encode()), status=status)


def rejected(message: str) -> Reaction:
    """Give a 400 for a plan that cannot be understood."""
    return reply(400, answers.error(message, kind="invalid_request_error", param="user"))


def _refuse(fault: Fault, now_s: float) -> Reaction:
    refusal = _REFUSALS[fault.word]
    hints: list[tuple[str, str]] = []
    for name, value in fault.hints():
        if name == QUOTA:
            refusal = _NO_QUOTA
        elif name == "retry-date":
            hints.append(("retry-after", formatdate(now_s + float(value), usegmt=True)))
        else:
            hints.append((name, value))
    content = answers.error(refusal.message, kind=refusal.kind, code=refusal.code)
    reaction = _answered(json.dumps(content).encode(), extra=hints)
    return replace(reaction, status=refusal.status)


def _answered(body: bytes, *, media: str = _JSON, extra: Headers = ()) -> Reaction:
    headers = (("content-type", media), ("content-length", str(len(body))), *extra)
    return Reaction(headers=headers, body=body)


def _manner(body: bytes, manner: Manner) -> Reaction:
    return replace(_answered(body), manner=manner)


def _drip(body: bytes, fault: Fault) -> Reaction:
    pace = DRIP_S if fault.seconds is None else fault.seconds
    return replace(_manner(body, Manner.DRIP), drip_s=pace)


def _no_choices(body: bytes) -> Reaction:
    return _answered(json.dumps(json.loads(body) | {"choices": []}).encode())


def _big(body: bytes, size: int) -> Reaction:
    return _answered(body[:-1] + b', "padding": "' + b"x" * size + b'"}')


@lru_cache(maxsize=4)
def _bomb(size: int) -> bytes:
    """Give a gzip stream that expands to `size` zero characters: about a thousandth of it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    packed = [packer.compress(b"0" * min(_CHUNK, size - at)) for at in range(0, size, _CHUNK)]
    return b"".join([*packed, packer.flush()])


_GZIP: Final = (("content-encoding", "gzip"),)
_SPOILERS: Final[Mapping[str, Callable[[bytes, Fault], Reaction]]] = {
    "ok": lambda good, _: _answered(good),
    "slow": lambda good, fault: replace(_answered(good), delay_s=fault.seconds or 0.0),
    "goaway": lambda good, _: replace(_answered(good), retire=True),
    "hang_body": lambda good, _: _manner(good, Manner.HALF_THEN_HANG),
    "reset_body": lambda good, _: _manner(good, Manner.HALF_THEN_RESET),
    "drip": _drip,
    "204": lambda _good, _fault: Reaction(status=204),
    "garbage": lambda _good, _fault: _answered(b"%$!? this is not JSON\n\x00\xff"),
    "html": lambda _good, _fault: _answered(b"<!doctype html><h1>Hm</h1>", media="text/html"),
    "truncated": lambda good, _: _answered(good[: len(good) // 2]),
    "empty": lambda _good, _fault: _answered(b""),
    "no_choices": lambda good, _: _no_choices(good),
    "big": lambda good, fault: _big(good, fault.size),
    "gzip_bomb": lambda _, fault: _answered(_bomb(fault.size), extra=_GZIP),
}
"""Faults that let the model work and then harm the answer, its bytes or its sending."""
