"""What kind of failure an answer or a broken call is: tables, with the reason beside each row.

`kind_of_answer` judges what an upstream said, `kind_of_break` a call that ended without an answer. What
a kind allows stands in `kinds`; how the bytes are read, and which of a library's exceptions is which
`Break`, is the business of `worker/upstream`.
"""

import re
from enum import StrEnum
from typing import Final

from worker.core.kinds import RULES, Cure, Kind


class Shape(StrEnum):
    """What the body of a 2xx answer turned out to be; the value says so in Warren's own words."""

    COMPLETION = "a readable completion"
    NOTHING = "the answer was empty"
    PAGE = "the answer was an HTML page"
    NOT_JSON = "the answer was not readable JSON: garbled or cut short"
    INCOMPLETE = "the answer was JSON without a completion in it"
    ERROR = "the answer was an error under a success status"
    ENCODED = "the answer was compressed in a way that was not asked for, or damaged"
    TOO_LARGE = "the answer was larger than the endpoint's max_response_bytes"


class Break(StrEnum):
    """How a call ended without an answer; the value says so in Warren's own words."""

    NO_KEY = "no usable key was to be had: look at the endpoint's key and its secret file"
    UNRESOLVED = "the endpoint's host name was not found"
    REFUSED = "the endpoint's host refused the connection"
    CERTIFICATE = "the endpoint's TLS certificate is not valid for it: look at base_url and ca_file"
    UNCONNECTED = "no connection to the endpoint could be made"
    CONNECT_TIMEOUT = "no connection to the endpoint within connect_timeout_s"
    SILENT = "nothing came from the endpoint for read_timeout_s"
    CUT = "the connection broke before the answer was complete"
    PROTOCOL = "the endpoint broke off the answer or did not speak HTTP"
    UNSENDABLE = "the request could not be put on the wire: look at the endpoint's settings"


_BREAKS: Final[dict[Break, Kind]] = {
    Break.NO_KEY: Kind.UNAUTHORIZED,  # as a refused key: only the operator can mend it
    Break.UNRESOLVED: Kind.CONNECTION,
    Break.REFUSED: Kind.CONNECTION,
    Break.CERTIFICATE: Kind.CONNECTION,  # a certificate that ran out is renewed while jobs wait
    Break.UNCONNECTED: Kind.CONNECTION,
    Break.CONNECT_TIMEOUT: Kind.CONNECTION,  # nothing was sent: not the model's slowness
    Break.SILENT: Kind.TIMEOUT,
    Break.CUT: Kind.CONNECTION,
    Break.PROTOCOL: Kind.CONNECTION,  # HTTP/2 resets look like this, and half of an HTTP/1.1 body
    Break.UNSENDABLE: Kind.UNAUTHORIZED,  # made of settings and key alone, the message has no part
}

_STATUSES: Final[dict[int, Kind]] = {
    401: Kind.UNAUTHORIZED,
    402: Kind.QUOTA_EXHAUSTED,  # OpenRouter, DeepSeek: no balance left
    403: Kind.UNAUTHORIZED,
    404: Kind.MODEL_NOT_FOUND,
    408: Kind.TIMEOUT,  # the upstream's own timeout: nothing is known about the work
    409: Kind.UPSTREAM_ERROR,  # a lock of theirs; the OpenAI SDK retries it too
    425: Kind.UPSTREAM_ERROR,  # too early: to be sent again as it is (RFC 8470)
    429: Kind.RATE_LIMITED,
    503: Kind.OVERLOADED,
    529: Kind.OVERLOADED,  # Anthropic's own number
}

_CLASSES: Final[dict[int, Kind]] = {
    1: Kind.BAD_RESPONSE,  # an interim answer is none
    2: Kind.BAD_RESPONSE,  # unless its body is a completion, see `kind_of_answer`
    3: Kind.REDIRECTED,
    4: Kind.INVALID_REQUEST,  # it will be as wrong next time
    5: Kind.UPSTREAM_ERROR,
}

_TOO_LONG: Final = frozenset({"context_length_exceeded", "string_above_max_length"})
_NO_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_NO_MODEL: Final = frozenset({"model_not_found"})
_UNWANTED: Final = frozenset({"content_filter", "content_policy_violation"})

# A code says more than its status, but only where this row expects it.
_CODES: Final[dict[tuple[int, str], Kind]] = {
    **{(status, code): Kind.CONTEXT_TOO_LONG for status in (400, 413, 422) for code in _TOO_LONG},
    # The account, not the moment, refuses: waiting a minute mends nothing.
    **{(status, code): Kind.QUOTA_EXHAUSTED for status in (403, 429) for code in _NO_QUOTA},
    # A model that the key may not use, or a prompt that is refused: one job's business. Taken for a
    # refused key it would stop the endpoint for all others.
    **{(status, code): Kind.MODEL_NOT_FOUND for status in (400, 403) for code in _NO_MODEL},
    **{(403, code): Kind.INVALID_REQUEST for code in _UNWANTED},
}

_BAD_SHAPES: Final[dict[Shape, Kind | None]] = {
    **dict.fromkeys(Shape, Kind.BAD_RESPONSE),
    Shape.COMPLETION: None,
    Shape.TOO_LARGE: Kind.RESPONSE_TOO_LARGE,
}

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CLIENT_ERROR: Final = 4


def kind_of_answer(
    status: int,
    *,
    shape: Shape = Shape.NOTHING,
    code: str | None = None,
    error_type: str | None = None,
    should_retry: str | None = None,
) -> Kind | None:
    """Give the kind of failure that an answer is; None: it is a completion.

    `shape` matters for 2xx only; `code` and `error_type` are the error object's, `should_retry` is the
    header `x-should-retry`. That header moves only what the status leaves open, between two columns:

    * `true` on a plain invalid request makes it transient (UPSTREAM_ERROR);
    * `false` on a transient 4xx (408, 409, 425) makes it permanent (INVALID_REQUEST);
    * on 5xx and 429 it changes nothing: it tells a client not to come back at once, while here the next
      attempt comes after a parking queue, and a server's fault is no reason to give up a job.
    """
    if status // 100 == 2:  # noqa: PLR2004  # 2xx is how HTTP writes success
        return _BAD_SHAPES[shape]
    plain = _STATUSES.get(status) or _CLASSES.get(status // 100, Kind.BAD_RESPONSE)
    kind = _CODES.get((status, code or "")) or _CODES.get((status, error_type or "")) or plain
    if status // 100 != _CLIENT_ERROR:
        return kind
    if should_retry == "true" and kind is Kind.INVALID_REQUEST:
        return Kind.UPSTREAM_ERROR
    if should_retry == "false" and RULES[kind].cure is Cure.RETRY:
        return Kind.INVALID_REQUEST
    return kind


def kind_of_break(broken: Break) -> Kind:
    """Give the kind of failure that a call without an answer is."""
    return _BREAKS[broken]


def short_code(value: object) -> str | None:
    """Give an error code that may be kept and shown, else None.

    Numbers become text; anything outside `[A-Za-z0-9_.-]{1,64}` is dropped: it may quote the prompt.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return str(value)
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
