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


class Reason(StrEnum):
    """Why an upstream refused, where it says so in more than its status and code; in Warren's own words."""

    KEY = "the key, or the account, may not call"
    QUOTA = "the account has nothing left"
    RATE = "too much at the moment"
    TOO_LONG = "the request is longer than the model, or the account's limit, ever takes"
    UNWANTED = "the content is refused"


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
    NOT_TAKEN = "the endpoint refused the call three times in a row before it worked on it (HTTP/2)"
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
    Break.NOT_TAKEN: Kind.RATE_LIMITED,  # no place for another stream, and nothing was done: wait, no attempt
    Break.PROTOCOL: Kind.CONNECTION,  # HTTP/2 resets look like this, and half of an HTTP/1.1 body
    Break.UNSENDABLE: Kind.UNAUTHORIZED,  # made of settings and key alone, the message has no part
}

# No byte of the request can have reached the endpoint.
_UNSENT: Final = frozenset(
    {
        *(Break.NO_KEY, Break.UNRESOLVED, Break.REFUSED, Break.CERTIFICATE, Break.UNCONNECTED),
        *(Break.CONNECT_TIMEOUT, Break.UNSENDABLE),
    }
)

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

_TOO_LONG: Final = frozenset(
    {
        "context_length_exceeded",  # OpenAI, and most that copy it
        "string_above_max_length",
        "exceed_context_size_error",  # llama.cpp
        "request_too_large",  # Anthropic, 413: so many bytes
        "tokens_limit_reached",  # GitHub Models, 413
    }
)
_NO_QUOTA: Final = frozenset(
    {
        "insufficient_quota",  # OpenAI, Azure
        "billing_hard_limit_reached",
        "billing_not_active",  # OpenAI, 429
        "billing_error",  # Anthropic, 402, also where a gateway changes the status
        "budget_exceeded",  # LiteLLM, 400 or 429 by its version
        "BILLING_DISABLED",  # Google, 403
    }
)
_BAD_KEY: Final = frozenset(
    {
        "invalid_api_key",
        "authentication_error",
        "API_KEY_INVALID",  # Gemini, 400
        "API_KEY_EXPIRED",
        "organization_restricted",  # Groq, 400
    }
)
_NO_MODEL: Final = frozenset(
    {
        "model_not_found",
        "model_decommissioned",  # Groq, 400
        "model_terms_required",  # Groq, 403
        "invalid_model",  # Mistral, 400
        "DeploymentNotFound",  # Azure, 404
    }
)
_UNWANTED: Final = frozenset({"content_filter", "content_policy_violation"})

# A code says more than its status, but only where this row expects it.
_CODES: Final[dict[tuple[int, str], Kind]] = {
    **{(status, code): Kind.CONTEXT_TOO_LONG for status in (400, 413, 422) for code in _TOO_LONG},
    (413, "rate_limit_exceeded"): Kind.CONTEXT_TOO_LONG,  # Groq: more tokens than a minute allows
    # The account, not the moment, refuses: waiting a minute mends nothing.
    **{(status, code): Kind.QUOTA_EXHAUSTED for status in (400, 403, 429) for code in _NO_QUOTA},
    # The endpoint's key, not the job, is at fault, whatever the status says of the request.
    **{(400, code): Kind.UNAUTHORIZED for code in _BAD_KEY},
    # A model that the key may not use, or a prompt that is refused: one job's business. Taken for a
    # refused key it would stop the endpoint for all others.
    **{(status, code): Kind.MODEL_NOT_FOUND for status in (400, 403) for code in _NO_MODEL},
    **{(403, code): Kind.INVALID_REQUEST for code in _UNWANTED},
    # Work refused for lack of room, under a status that says something else.
    (498, "capacity_exceeded"): Kind.OVERLOADED,  # Groq's own number: its flex tier is full
    (500, "overloaded_error"): Kind.OVERLOADED,  # Anthropic, behind gateways that know no 529
}

# The same for what is read from an error's details and wording, and before its code: Gemini says RESOURCE_EXHAUSTED
# of a minute and of a day.
_REASONS: Final[dict[tuple[int, Reason], Kind]] = {
    **{(status, Reason.KEY): Kind.UNAUTHORIZED for status in (400, 403)},
    **{(status, Reason.QUOTA): Kind.QUOTA_EXHAUSTED for status in (400, 403, 429)},
    (429, Reason.RATE): Kind.RATE_LIMITED,
    **{(status, Reason.TOO_LONG): Kind.CONTEXT_TOO_LONG for status in (400, 413, 422, 429)},
    (403, Reason.UNWANTED): Kind.INVALID_REQUEST,
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
    reason: Reason | None = None,
    should_retry: str | None = None,
) -> Kind | None:
    """Give the kind of failure that an answer is; None: it is a completion.

    `shape` matters for 2xx only; `code` and `error_type` are the error object's, `reason` is what else was read from
    it, `should_retry` is the header `x-should-retry`. That header moves only what the status leaves open, between two columns:

    * `true` on a plain invalid request makes it transient (UPSTREAM_ERROR);
    * `false` on a transient 4xx (408, 409, 425) makes it permanent (INVALID_REQUEST);
    * on 5xx and 429 it changes nothing: it tells a client not to come back at once, while here the next
      attempt comes after a parking queue, and a server's fault is no reason to give up a job.
    """
    if status // 100 == 2:  # noqa: PLR2004  # 2xx is how HTTP writes success
        return _BAD_SHAPES[shape]
    plain = _STATUSES.get(status) or _CLASSES.get(status // 100, Kind.BAD_RESPONSE)
    kind = (
        (_REASONS.get((status, reason)) if reason is not None else None)
        or _CODES.get((status, code or ""))
        or _CODES.get((status, error_type or ""))
        or plain
    )
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


def was_sent(broken: Break) -> bool:
    """Tell whether an upstream may have got something of a call that ended so, and may have worked on it."""
    return broken not in _UNSENT


def short_code(value: object) -> str | None:
    """Give an error code that may be kept and shown, else None.

    Numbers become text; anything outside `[A-Za-z0-9_.-]{1,64}` is dropped: it may quote the prompt.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return str(value)
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None
