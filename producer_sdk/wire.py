"""The wire contract, version 1: what travels over RabbitMQ between producers and workers.

This is the one module that both sides share. It knows names and shapes and no AMQP library: an
`Envelope` holds what AMQP calls properties and headers, and the adapters on both sides turn it into
their library's message and back.

A request's AMQP body is the body for the upstream API, byte for byte; a successful reply's AMQP body
is the upstream's response body, byte for byte. Everything of Warren's own travels in properties and in
headers that begin with `x-warren-`.

Request (published to `warren.requests` with the routing key `<tier>.<lane>`):

| where | value |
| --- | --- |
| `user_id` | the tenant: the broker checks it against the connection's user |
| `correlation_id` | the submission's id; its replies carry the same |
| `reply_to` | the reply route `<tenant>.<client>`; absent when no reply is wanted |
| `message_id` | fresh for each publish |
| `priority` | 1 low, 4 normal, 7 high |
| `timestamp` | the submission's time in seconds; optional, shown to operators as the queue's age |
| `x-warren-version` | 1 |
| `x-warren-path` | the API path, one of `PATHS` |
| `x-warren-key` | the idempotency key; absent: the submission's id serves |
| `x-warren-deadline` | milliseconds since the epoch; absent: the tier's default |
| `x-warren-dedupe` | `off`, `inflight` or `cache`; absent: the tier's default |
| `x-warren-submitted` | milliseconds since the epoch |

Reply (published to `warren.replies` with the reply route as routing key): see `CompletionReply`.

Ask (published to `warren.requests` with the routing key `ask`): what became of a job, or the wish to cancel it.
Its answer is a reply whose `correlation_id` is the ask's.

| where | value |
| --- | --- |
| `user_id` | the tenant, as above: it can ask for its own jobs only |
| `correlation_id` | the ask's id; its answer carries the same |
| `reply_to` | the reply route `<tenant>.<client>`; absent when no answer is wanted |
| `x-warren-version` | 1 |
| `x-warren-ask` | `result` or `cancel` |
| `x-warren-job` | the job's id; or instead of it |
| `x-warren-key` | the job's idempotency key, or its submission's id where none was given |
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

VERSION: Final = 1

REQUESTS_EXCHANGE: Final = "warren.requests"
REPLIES_EXCHANGE: Final = "warren.replies"
REPLY_QUEUE_PREFIX: Final = "warren.reply."
ASK_KEY: Final = "ask"

HEADER_PREFIX: Final = "x-warren-"

PATHS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
Path: TypeAlias = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]

HeaderValue: TypeAlias = str | int
# Where a queue lives: on one node, or on several, so that it outlives the loss of a minority of them.
QueueType: TypeAlias = Literal["classic", "quorum"]
# Of a quorum queue: how often a message may come back before the broker sets it aside, and each cut connection counts.
# No value means "never" on every version, so one that no message lives to see.
NO_DELIVERY_LIMIT: Final = 2**31 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# The last instant that fits a datetime with room for arithmetic on it; in milliseconds.
_MAX_INSTANT_MS: Final = 253_370_764_800_000  # 9999-01-01
_NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
_ROUTE_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$"
_JOB_PATTERN: Final = r"^[0-9a-f]{32}$"


class Priority(IntEnum):
    """How soon within a tier; the numbers keep their order on every queue type that has priorities."""

    LOW = 1
    NORMAL = 4
    HIGH = 7


class Lane(StrEnum):
    """How soon a tier's queue is served: `interactive` now, `bulk` when there is room and time."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Dedupe(StrEnum):
    """With whom a request may share an answer; always within its tenant."""

    OFF = "off"
    INFLIGHT = "inflight"
    CACHE = "cache"


class Status(StrEnum):
    """What became of a job, or (`REFUSED`) of this submission alone."""

    COMPLETED = "completed"
    DEAD_LETTERED = "dead_lettered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class Verb(StrEnum):
    """What an ask wants."""

    RESULT = "result"
    CANCEL = "cancel"


class Source(StrEnum):
    """Where a reply's answer comes from."""

    UPSTREAM = "upstream"
    CACHE = "cache"
    SHARED = "shared"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The AMQP properties and headers of one message; adapters translate it to their library's type.

    `at` becomes the property `timestamp`, in whole seconds: nothing decides by it, but the broker shows with it
    how old a queue's head is.
    """

    headers: Mapping[str, HeaderValue]
    correlation_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None
    expiration: timedelta | None = None
    at: datetime | None = None
    content_type: str = "application/json"
    kind: str | None = None


class WireError(ValueError):
    """A message does not follow the contract; the text names the field and the rule, never its value."""


class CompletionRequest(BaseModel):
    """One submission of a request: the upstream body and how it is to be treated.

    `body` is sent upstream byte for byte. `deadline` and `submitted_at` are aware instants, kept to
    the millisecond.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    submission_id: str = Field(pattern=_NAME_PATTERN)
    path: Path
    body: bytes
    submitted_at: datetime
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=256)
    reply_to: str | None = Field(default=None, pattern=_ROUTE_PATTERN)
    deadline: datetime | None = None
    dedupe: Dedupe | None = None
    priority: int = Field(default=Priority.NORMAL, ge=0, le=9)

    def envelope(self) -> Envelope:
        """Give the properties and headers that carry this request."""
        headers: dict[str, HeaderValue] = {
            "x-warren-version": VERSION,
            "x-warren-path": self.path,
            "x-warren-submitted": to_ms(self.submitted_at),
        }
        if self.idempotency_key is not None:
            headers["x-warren-key"] = self.idempotency_key
        if self.deadline is not None:
            headers["x-warren-deadline"] = to_ms(self.deadline)
        if self.dedupe is not None:
            headers["x-warren-dedupe"] = self.dedupe.value
        return Envelope(
            headers=headers,
            correlation_id=self.submission_id,
            reply_to=self.reply_to,
            priority=self.priority,
            at=self.submitted_at,
            kind="warren.request",
        )

    @classmethod
    def parse(cls, envelope: Envelope, body: bytes) -> "CompletionRequest":
        """Read a request from its envelope.

        Raises:
            WireError: a field is missing or breaks its rule.
        """
        headers = envelope.headers
        _check_version(headers)
        try:
            return cls.model_validate(
                {
                    "submission_id": envelope.correlation_id,
                    "path": headers.get("x-warren-path"),
                    "body": body,
                    "submitted_at": _instant(headers, "x-warren-submitted"),
                    "idempotency_key": headers.get("x-warren-key"),
                    "reply_to": envelope.reply_to,
                    "deadline": _instant(headers, "x-warren-deadline"),
                    "dedupe": headers.get("x-warren-dedupe"),
                    "priority": Priority.NORMAL if envelope.priority is None else envelope.priority,
                }
            )
        except ValidationError as error:
            raise WireError(_problems(error)) from None


class Ask(BaseModel):
    """What became of a job, or the wish to cancel it; the job is named by its id or by its key.

    A job that no worker has received yet is known by its key alone: only that shows whose it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ask_id: str = Field(pattern=_NAME_PATTERN)
    verb: Verb
    job_id: str | None = Field(default=None, pattern=_JOB_PATTERN)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=256)
    reply_to: str | None = Field(default=None, pattern=_ROUTE_PATTERN)

    @model_validator(mode="after")
    def _names_one_job(self) -> Self:
        if (self.job_id is None) == (self.idempotency_key is None):
            raise ValueError("name the job by its id or by its key, one of them")
        return self

    def envelope(self) -> Envelope:
        """Give the properties and headers that carry this ask; its body is empty."""
        headers: dict[str, HeaderValue] = {
            "x-warren-version": VERSION,
            "x-warren-ask": self.verb.value,
        }
        if self.job_id is not None:
            headers["x-warren-job"] = self.job_id
        if self.idempotency_key is not None:
            headers["x-warren-key"] = self.idempotency_key
        return Envelope(
            headers=headers, correlation_id=self.ask_id, reply_to=self.reply_to, kind="warren.ask"
        )

    @classmethod
    def parse(cls, envelope: Envelope) -> "Ask":
        """Read an ask from its envelope.

        Raises:
            WireError: a field is missing or breaks its rule.
        """
        headers = envelope.headers
        _check_version(headers)
        try:
            return cls.model_validate(
                {
                    "ask_id": envelope.correlation_id,
                    "verb": headers.get("x-warren-ask"),
                    "job_id": headers.get("x-warren-job"),
                    "idempotency_key": headers.get("x-warren-key"),
                    "reply_to": envelope.reply_to,
                }
            )
        except ValidationError as error:
            raise WireError(_problems(error)) from None


class ReplyError(BaseModel):
    """Why a job did not complete: the body of every reply that is not `completed`.

    `kind` is one of the worker's documented failure kinds; `code` is the upstream's own short error code
    where it gave one. Never holds a prompt, a completion, a key or the upstream's free text.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    kind: str
    message: str
    status: int | None = None
    code: str | None = None


class CompletionReply(BaseModel):
    """What a submission hears. Durations are in milliseconds.

    `body` is the upstream's response, byte for byte, when `status` is `completed`; else the JSON of
    `{"error": ReplyError}`. All replies of one run of a job have the same body. `cost` is what the job's own
    call cost, in US dollars: zero for an answer that needed none; of a run that failed, what all its calls cost. None:
    not known.
    `recorded` False: Warren answered while it could not write its ledger; the same job may be called for again,
    and be answered otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    submission_id: str
    job_id: str
    status: Status
    body: bytes
    source: Source = Source.NONE
    endpoint: str | None = None
    run: int = 1
    attempts: int = 0
    tries: int = 0
    waited_ms: int = 0
    upstream_ms: int = 0
    total_ms: int = 0
    cost: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    recorded: bool = True

    def envelope(self) -> Envelope:
        """Give the properties and headers that carry this reply."""
        headers: dict[str, HeaderValue] = {
            "x-warren-version": VERSION,
            "x-warren-job": self.job_id,
            "x-warren-status": self.status.value,
            "x-warren-source": self.source.value,
            "x-warren-run": self.run,
            "x-warren-attempts": self.attempts,
            "x-warren-tries": self.tries,
            "x-warren-waited-ms": self.waited_ms,
            "x-warren-upstream-ms": self.upstream_ms,
            "x-warren-total-ms": self.total_ms,
            "x-warren-recorded": self.recorded,
        }
        if self.endpoint is not None:
            headers["x-warren-endpoint"] = self.endpoint
        if self.cost is not None:
            headers["x-warren-cost"] = format(self.cost, "f")
        return Envelope(headers=headers, correlation_id=self.submission_id, kind="warren.reply")

    @classmethod
    def parse(cls, envelope: Envelope, body: bytes) -> "CompletionReply":
        """Read a reply from its envelope.

        Raises:
            WireError: a field is missing or breaks its rule.
        """
        headers = envelope.headers
        _check_version(headers)
        try:
            return cls.model_validate(
                {
                    "submission_id": envelope.correlation_id,
                    "job_id": headers.get("x-warren-job"),
                    "status": headers.get("x-warren-status"),
                    "body": body,
                    "source": headers.get("x-warren-source", Source.NONE),
                    "endpoint": headers.get("x-warren-endpoint"),
                    "run": headers.get("x-warren-run", 1),
                    "attempts": headers.get("x-warren-attempts", 0),
                    "tries": headers.get("x-warren-tries", 0),
                    "waited_ms": headers.get("x-warren-waited-ms", 0),
                    "upstream_ms": headers.get("x-warren-upstream-ms", 0),
                    "total_ms": headers.get("x-warren-total-ms", 0),
                    "cost": headers.get("x-warren-cost"),
                    "recorded": headers.get("x-warren-recorded", True),
                }
            )
        except ValidationError as error:
            raise WireError(_problems(error)) from None

    def error(self) -> ReplyError:
        """Give the error of a reply that is not `completed`.

        Raises:
            WireError: the body holds no readable error.
        """
        try:
            return _ErrorBody.model_validate_json(self.body).error
        except ValidationError as error:
            raise WireError(_problems(error)) from None


class _ErrorBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    error: ReplyError


def error_body(error: ReplyError) -> bytes:
    """Give the body of a reply that tells an error."""
    return _ErrorBody(error=error).model_dump_json(exclude_none=True).encode()


def job_id(tenant: str, key: str) -> str:
    """Give a job's id: 32 hex digits of the SHA-256 over tenant and idempotency key."""
    return hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()[:32]


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Give the JSON bytes of a request body built from Python values.

    Raises:
        WireError: a value is no JSON (NaN and infinities are not).
    """
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"the request body cannot be written as JSON: {error}") from None


def request_key(tier: str, lane: Lane) -> str:
    """Give the routing key under which a tier's lane takes requests."""
    return f"{tier}.{lane.value}"


def reply_route(tenant: str, client: str) -> str:
    """Give the routing key of a client's replies; the broker lets a tenant bind only its own.

    Raises:
        WireError: a name has characters outside `A-Z a-z 0-9 _ -` or more than 64 of them.
    """
    for what, name in (("tenant", tenant), ("client name", client)):
        if re.fullmatch(_NAME_PATTERN, name) is None:
            raise WireError(f"the {what} must be 1 to 64 characters out of A-Z a-z 0-9 _ -")
    return f"{tenant}.{client}"


def reply_queue(tenant: str, client: str) -> str:
    """Give the name of a client's callback queue."""
    return REPLY_QUEUE_PREFIX + reply_route(tenant, client)


def to_ms(instant: datetime) -> int:
    """Give an aware instant as whole milliseconds since the epoch."""
    return (instant - _EPOCH) // _MILLISECOND


def from_ms(value: int) -> datetime:
    """Give the aware instant of milliseconds since the epoch.

    Raises:
        WireError: the value is outside the years 1970 to 9998.
    """
    if not 0 <= value <= _MAX_INSTANT_MS:
        raise WireError(
            "an instant must lie between the years 1970 and 9998, in milliseconds since the epoch"
        )
    return _EPOCH + timedelta(milliseconds=value)


def _instant(headers: Mapping[str, HeaderValue], name: str) -> datetime | None:
    value = headers.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(f"{name}: must be an integer, milliseconds since the epoch")
    try:
        return from_ms(value)
    except WireError as error:
        raise WireError(f"{name}: {error}") from None


def _check_version(headers: Mapping[str, HeaderValue]) -> None:
    if headers.get("x-warren-version") != VERSION:
        raise WireError(
            f"x-warren-version: this side speaks version {VERSION} of the wire contract only"
        )


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'message'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
