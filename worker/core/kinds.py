"""The kinds of failure, each with what it allows: one table, with the reason beside each row."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class Kind(StrEnum):
    """What went wrong, in one word: dead letters, metrics, error replies and the CLI all use it."""

    # transient: the next try may well work
    UPSTREAM_ERROR = "upstream_error"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    BAD_RESPONSE = "bad_response"
    # refused: nobody worked on it, and it is known when to come again
    RATE_LIMITED = "rate_limited"
    KEY_REPLACED = "key_replaced"
    UNAVAILABLE = "unavailable"
    # the endpoint, not the request, is at fault
    UNAUTHORIZED = "unauthorized"
    QUOTA_EXHAUSTED = "quota_exhausted"
    # permanent: no retry cures it
    INVALID_REQUEST = "invalid_request"
    CONTEXT_TOO_LONG = "context_too_long"
    MODEL_NOT_FOUND = "model_not_found"
    RESPONSE_TOO_LARGE = "response_too_large"
    REDIRECTED = "redirected"
    # the job's own end
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    BUDGET_EXCEEDED = "budget_exceeded"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    REFUSALS_EXHAUSTED = "refusals_exhausted"
    INTERNAL_ERROR = "internal_error"
    # this submission's own end
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    RESULT_EXPIRED = "result_expired"
    # an ask's own answers
    UNKNOWN_JOB = "unknown_job"
    NOT_ENDED = "not_ended"


class Cure(Enum):
    """What may help against a kind of failure."""

    RETRY = "a later try may work: counts an attempt"
    WAIT = "the upstream refused before working: wait, no attempt counts"
    OPERATOR = "the endpoint is stopped until somebody mends it; the job waits, no attempt counts"
    NONE = "nothing: dead letter at once"
    END = "nothing: the job ends with an error reply and no dead letter"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind allows, and what the caller is told."""

    cure: Cure
    message: str


RULES: Final[dict[Kind, Rule]] = {
    Kind.UPSTREAM_ERROR: Rule(Cure.RETRY, "the upstream answered with a server error"),
    Kind.OVERLOADED: Rule(Cure.RETRY, "the upstream was overloaded"),
    Kind.TIMEOUT: Rule(Cure.RETRY, "the upstream did not answer within the attempt's time"),
    Kind.CONNECTION: Rule(Cure.RETRY, "the connection to the upstream failed or broke"),
    Kind.BAD_RESPONSE: Rule(Cure.RETRY, "the upstream's answer was not a readable completion"),
    Kind.RATE_LIMITED: Rule(Cure.WAIT, "the upstream's rate limit refused the call"),
    # Nobody worked on it, and the key that is there by now was not refused: at once, and the endpoint is not held.
    Kind.KEY_REPLACED: Rule(
        Cure.WAIT, "the upstream refused a key that has been replaced meanwhile"
    ),
    # Nobody was called, or one call found out for all that nothing has changed.
    Kind.UNAVAILABLE: Rule(Cure.WAIT, "every endpoint that could serve the job has failed lately"),
    Kind.UNAUTHORIZED: Rule(Cure.OPERATOR, "the upstream refused the endpoint's key"),
    Kind.QUOTA_EXHAUSTED: Rule(Cure.OPERATOR, "the endpoint's account has no quota left"),
    Kind.INVALID_REQUEST: Rule(Cure.NONE, "the request is not valid"),
    Kind.CONTEXT_TOO_LONG: Rule(Cure.NONE, "the request is longer than the model's context"),
    Kind.MODEL_NOT_FOUND: Rule(Cure.NONE, "the upstream does not know the model or the path"),
    # A second call would be paid for and come back as large.
    Kind.RESPONSE_TOO_LARGE: Rule(Cure.NONE, "the response was larger than the configured bound"),
    # Following would send the key to an address that nobody configured.
    Kind.REDIRECTED: Rule(
        Cure.NONE, "the upstream answered with a redirect, which is never followed"
    ),
    Kind.EXPIRED: Rule(Cure.END, "the job's deadline passed"),
    Kind.CANCELLED: Rule(Cure.END, "the job was cancelled"),
    # A dead letter would be replayed into the same refusal, and a tenant without money could fill the queue.
    Kind.BUDGET_EXCEEDED: Rule(Cure.END, "the budget leaves no room for the call"),
    Kind.ATTEMPTS_EXHAUSTED: Rule(Cure.NONE, "every allowed attempt ended without an outcome"),
    Kind.REFUSALS_EXHAUSTED: Rule(
        Cure.NONE, "the upstream refused the call more often than the policy allows"
    ),
    Kind.INTERNAL_ERROR: Rule(Cure.NONE, "Warren failed on this job; its log has the trace"),
    Kind.IDEMPOTENCY_CONFLICT: Rule(
        Cure.END, "the idempotency key belongs to a job with another request"
    ),
    Kind.RESULT_EXPIRED: Rule(Cure.END, "the job completed, and its response is not kept any more"),
    Kind.UNKNOWN_JOB: Rule(Cure.END, "no worker knows such a job of this tenant"),
    Kind.NOT_ENDED: Rule(Cure.END, "the job has not ended yet"),
}
