"""What a submission hears, as a value (`Reply`) or as an error to raise."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Self

from producer_sdk.errors import (
    BudgetExceeded,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotEnded,
    JobUnknown,
    ResultExpired,
    SubmissionRefused,
    UnexpectedBody,
)
from producer_sdk.wire import CompletionReply, ReplyError, Source, Status, WireError


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """LLM tokens as the upstream counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where a job's time went: in the queue, in the upstream, and from submission to settlement."""

    waited: timedelta
    upstream: timedelta
    total: timedelta


@dataclass(frozen=True, kw_only=True)  # no slots: the parsed body is cached beside the fields
class Reply:
    """A completed job's answer.

    `body` is the upstream's response, byte for byte. Everything that is read out of it is read on first use.
    `cost` is what the job's own call cost in US dollars: zero when it needed none, None when the price is not known.
    `recorded` is False when Warren answered without its ledger, as its operators may let it do while that is down:
    the job may be called for again, and answered otherwise.
    """

    submission_id: str
    job_id: str
    body: bytes
    source: Source
    endpoint: str | None
    run: int
    attempts: int
    tries: int
    timings: Timings
    cost: Decimal | None = None
    recorded: bool = True

    @classmethod
    def of(cls, reply: CompletionReply) -> Self:
        """Make it from a `completed` wire reply."""
        return cls(
            submission_id=reply.submission_id,
            job_id=reply.job_id,
            body=reply.body,
            source=reply.source,
            endpoint=reply.endpoint,
            run=reply.run,
            attempts=reply.attempts,
            tries=reply.tries,
            timings=Timings(
                waited=timedelta(milliseconds=reply.waited_ms),
                upstream=timedelta(milliseconds=reply.upstream_ms),
                total=timedelta(milliseconds=reply.total_ms),
            ),
            cost=reply.cost,
            recorded=reply.recorded,
        )

    @property
    def cached(self) -> bool:
        """Whether no call was made for this job: the answer came from the cache or from another's call."""
        return self.source in {Source.CACHE, Source.SHARED}

    def json(self) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """Give the body parsed as JSON, a fresh copy at each call.

        Raises:
            UnexpectedBody: the body is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise UnexpectedBody(
                f"the reply of job {self.job_id} is not JSON; read its bytes from `body`"
            ) from None

    @property
    def text(self) -> str:
        """The first choice's text, of a chat completion or a plain completion.

        Raises:
            UnexpectedBody: there is none, as with tool calls and embeddings.
        """
        match self._document:
            case {"choices": [{"message": {"content": str(text)}}, *_]}:
                return text
            case {"choices": [{"message": {"content": [*parts]}}, *_]}:
                return "".join(part["text"] for part in parts if _has_text(part))
            case {"choices": [{"text": str(text)}, *_]}:
                return text
            case _:
                raise UnexpectedBody(
                    f"the reply of job {self.job_id} has no text in its first choice; read it with `json()`"
                )

    @property
    def usage(self) -> Usage | None:
        """The tokens used; None if the upstream did not say."""
        match self._document:
            case {"usage": {"prompt_tokens": int(prompt), "total_tokens": int(total), **rest}}:
                done = rest.get("completion_tokens", total - prompt)
                if not isinstance(done, int):
                    return None
                return Usage(prompt_tokens=prompt, completion_tokens=done, total_tokens=total)
            case _:
                return None

    @property
    def model(self) -> str | None:
        """The model that answered, in the upstream's words; None if it did not say."""
        match self._document:
            case {"model": str(model)}:
                return model
            case _:
                return None

    @cached_property
    def _document(self) -> object:
        return self.json()


def _has_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


# Refusals that say more than that this submission was refused.
_OWN_ERRORS: Final[Mapping[str, tuple[type[JobError], str]]] = {
    "budget_exceeded": (
        BudgetExceeded,
        "Submit it under another idempotency key when the budget has room, or have it raised",
    ),
    "unknown_job": (JobUnknown, "Check its id, or submit it again with its idempotency key"),
    "not_ended": (JobNotEnded, "Ask again later, or await its reply"),
    "result_expired": (
        ResultExpired,
        "Submit it under another idempotency key to have it called again",
    ),
}


def read(reply: CompletionReply) -> Reply | JobError:
    """Give what a wire reply means: an answer, or a fresh error to raise."""
    kinds: dict[Status, tuple[type[JobError], str]] = {
        Status.DEAD_LETTERED: (
            JobFailed,
            f"It lies in the dead letters: see `warren dead show {reply.job_id}`, then replay it",
        ),
        Status.EXPIRED: (
            JobExpired,
            "It expired before it was answered. Submit it again with a later deadline",
        ),
        Status.CANCELLED: (
            JobCancelled,
            "Its producer or an operator did that; submit it again under another idempotency key",
        ),
        Status.REFUSED: (SubmissionRefused, "Correct the request, or use another idempotency key"),
    }
    if reply.status is Status.COMPLETED:
        return Reply.of(reply)
    error = _error_of(reply)
    kind, advice = _OWN_ERRORS.get(error.kind, kinds[reply.status])
    return kind(
        f"job {reply.job_id} (submission {reply.submission_id}) {_what(reply, error)}. {advice}",
        submission_id=reply.submission_id,
        job_id=reply.job_id,
        run=reply.run,
        attempts=reply.attempts,
        kind=error.kind,
        status=error.status,
        code=error.code,
        cost=reply.cost,
    )


def _error_of(reply: CompletionReply) -> ReplyError:
    """Give the reply's error; a caller hears of the end even if its description cannot be read."""
    try:
        return reply.error()
    except WireError:
        return ReplyError(kind="unreadable", message="the reply does not say why in a readable way")


def _what(reply: CompletionReply, error: ReplyError) -> str:
    words = {
        Status.DEAD_LETTERED: f"failed in run {reply.run} after {reply.attempts} attempt(s)",
        Status.EXPIRED: "expired",
        Status.CANCELLED: "was cancelled",
        Status.REFUSED: "was refused",
    }
    facts = [error.kind]
    if error.status is not None:
        facts.append(f"status {error.status}")
    if error.code is not None:
        facts.append(f"code {error.code}")
    return f"{words[reply.status]}: {error.message} ({', '.join(facts)})"
