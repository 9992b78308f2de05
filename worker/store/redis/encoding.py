"""What the ledger's scripts are given: jobs, ends and asks as the flat lists that `scripts/*.lua` read."""

import hashlib

from producer_sdk.wire import Status
from worker.core.kinds import Kind
from worker.core.model import (
    Asked,
    Completed,
    DeadLetter,
    Failed,
    Job,
    Outcome,
    Reply,
    State,
    Submission,
    Terminal,
    Work,
)
from worker.core.money import whole
from worker.store import outcomes
from worker.store.instants import span_us, to_us
from worker.store.redis.connection import Part

CANCELLED = Failed(kind=Kind.CANCELLED)
CHECKSUM_BYTES = hashlib.sha256().digest_size


def job_parts(job: Job) -> tuple[Part, ...]:
    """Give the job as `job.lua` reads it."""
    return (
        job.id,
        job.tenant,
        job.key,
        job.tier,
        job.lane.value,
        job.path,
        job.model,
        job.content_hash,
        job.priority,
        job.submission.id,
        route(job.submission),
        to_us(job.submitted_at),
        to_us(job.received_at),
        to_us(job.deadline),
        job.run,
        job.generation,
        flag(yes=job.first),
        "" if job.not_before is None else to_us(job.not_before),
        job.claim_key,
        job.dedupe.value,
    )


def finish_parts(
    operation: str, outcome: Outcome, settlement: Terminal, *, work: Work, request: bytes
) -> tuple[Part, ...]:
    """Give a run's end as `ending.lua` reads it; `request` is what a dead letter keeps."""
    failed = outcome if isinstance(outcome, Failed) else None
    match settlement:
        case Reply(status=status):
            state, letter = State(status.value), ""
        case DeadLetter(reason=reason):
            state, letter = State.DEAD_LETTERED, reason.value
    return (
        operation,
        state.value,
        outcomes.written(outcome),
        with_checksum(outcome.body) if isinstance(outcome, Completed) else b"",
        letter,
        request if letter else b"",
        "" if failed is None else failed.kind.value,
        "" if failed is None or failed.status is None else failed.status,
        "" if failed is None or failed.code is None else failed.code,
        outcome.endpoint or "",
        work.calls,
        work.refusals,
        span_us(work.upstream),
        str(whole(work.spent)),
        work.unpriced,
    )


def cancelled_parts(operation: str, work: Work) -> tuple[Part, ...]:
    """Give the end of a run that was cancelled."""
    settlement = Reply(status=Status.CANCELLED)
    return finish_parts(operation, CANCELLED, settlement, work=work, request=b"")


def why_parts(why: Failed | None) -> tuple[Part, ...]:
    """Give the failure for which a generation is parked."""
    if why is None:
        return "", "", ""
    return why.kind.value, "" if why.status is None else why.status, why.endpoint or ""


def asked_parts(asked: Asked) -> tuple[Part, ...]:
    """Give an ask as `asked.lua` reads it."""
    return (
        asked.job_id,
        flag(yes=asked.tenant is None),
        asked.tenant or "",
        flag(yes=asked.by_key),
        asked.submission.id,
        route(asked.submission),
    )


def route(submission: Submission) -> str:
    """Give a submission's reply route, so that none and an empty one differ."""
    return "-" if submission.reply_to is None else f"={submission.reply_to}"


def flag(*, yes: bool) -> str:
    """Give a truth as the scripts read it."""
    return "1" if yes else "0"


def with_checksum(body: bytes) -> bytes:
    """Give a body as it is kept: its checksum before it."""
    return hashlib.sha256(body).digest() + body
