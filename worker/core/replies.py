"""What a submission hears: replies made from a terminal record."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from producer_sdk.wire import CompletionReply, ReplyError, Source, Status, error_body
from worker.core.kinds import RULES, Kind
from worker.core.model import Completed, Failed, Job, Record, State, Submission

_MILLISECOND: Final = timedelta(milliseconds=1)
_STATUS: Final = {
    State.COMPLETED: Status.COMPLETED,
    State.EXPIRED: Status.EXPIRED,
    State.CANCELLED: Status.CANCELLED,
    State.REFUSED: Status.REFUSED,
    State.DEAD_LETTERED: Status.DEAD_LETTERED,
}


def reply(record: Record, submission: Submission) -> CompletionReply:
    """Give the reply for one submission. Its body and cost are the same for all submissions of the run."""
    outcome = record.outcome
    if isinstance(outcome, Completed):
        status, body, source = Status.COMPLETED, outcome.body, outcome.source
    elif isinstance(outcome, Failed):
        status, body, source = _STATUS[record.state], error_body(error(outcome)), Source.NONE
    else:
        gone = Failed(kind=Kind.RESULT_EXPIRED)
        status, body, source = Status.REFUSED, error_body(error(gone)), Source.NONE
    return CompletionReply(
        submission_id=submission.id,
        job_id=record.job_id,
        status=status,
        body=body,
        source=source,
        endpoint=outcome.endpoint if outcome is not None else None,
        run=record.run,
        attempts=record.tally.attempts,
        tries=record.tally.calls + record.tally.refusals,
        waited_ms=record.waited // _MILLISECOND,
        upstream_ms=record.upstream // _MILLISECOND,
        total_ms=record.total // _MILLISECOND,
        cost=_cost(record),
    )


def _cost(record: Record) -> Decimal | None:
    """Give what the answer's own call cost, or what all calls of a run that failed cost; None: not known."""
    match record.outcome:
        case Completed() as completed:
            return completed.own_cost
        case Failed():
            return record.tally.cost
        case None:
            return None


def refusal(job: Job) -> CompletionReply:
    """Give the reply that refuses this submission alone: its key belongs to a job with another request."""
    return answer(job.submission.id, job.id, Kind.IDEMPOTENCY_CONFLICT)


def answer(submission_id: str, job_id: str, kind: Kind) -> CompletionReply:
    """Give what a submission or an ask hears that has no record to be told of."""
    return CompletionReply(
        submission_id=submission_id,
        job_id=job_id,
        status=Status.CANCELLED if kind is Kind.CANCELLED else Status.REFUSED,
        body=error_body(error(Failed(kind=kind))),
    )


def error(failed: Failed) -> ReplyError:
    """Give what a caller is told of a failure: Warren's own words and the upstream's codes, no more."""
    message = RULES[failed.kind].message
    return ReplyError(
        kind=failed.kind.value,
        message=f"{message}: {failed.detail}" if failed.detail else message,
        status=failed.status,
        code=failed.code,
    )
