"""`Ledger.result` and `Ledger.cancel` as transaction functions."""

from typing import NamedTuple

from producer_sdk.wire import Dedupe, Lane, Status
from worker.core.kinds import Kind
from worker.core.model import (
    AskAnswer,
    Asked,
    CalledOff,
    Ended,
    Failed,
    Job,
    NotEnded,
    Reply,
    Settled,
    State,
    Submission,
    UnknownJob,
    Work,
)
from worker.store.embedded import calling_off, claims
from worker.store.embedded.rows import JobRow
from worker.store.embedded.settling import write_end
from worker.store.embedded.standing import outcome_of, record
from worker.store.embedded.transaction import Transaction
from worker.store.instants import from_us

CANCELLED = Failed(kind=Kind.CANCELLED)


class _Facts(NamedTuple):
    """What of a job's row only an ask needs."""

    tenant: str
    key: str
    tier: str
    lane: str
    path: str
    model: str
    priority: int
    deadline: int


def result(transaction: Transaction, asked: Asked) -> AskAnswer:
    """Tell how a job ended, to the asker alone."""
    found = _find(transaction, asked)
    if found is None:
        return UnknownJob()
    row, job = found
    if row.state is State.OPEN:
        return NotEnded(noted=False)
    return _settled(transaction, row, job)


def cancel(transaction: Transaction, asked: Asked) -> AskAnswer:
    """Cancel a job, or say why not."""
    found = _find(transaction, asked)
    if found is None:
        return _cancel_unknown(transaction, asked)
    row, job = found
    if row.state is State.CANCELLED:
        # Perhaps by this very ask, whose worker died before all had heard.
        return _settled(transaction, row, job, others=True)
    if row.state is not State.OPEN:
        return _settled(transaction, row, job)
    transaction.jobs.note_submission(row.number, asked.submission)
    claim = claims.of_job(transaction, row.id)
    if claim is not None and claims.lives(transaction, claim):
        # Also where other jobs wait for the call, which then is not closed: should it come to nothing, it is not
        # made again for this job.
        calling_off.call_off(transaction, row.id)
        return NotEnded(noted=True)
    if claim is not None:
        claims.take_over(transaction, claim)
    cancelled = Reply(status=Status.CANCELLED)
    return Settled(
        job=job, ended=write_end(transaction, row, job, CANCELLED, cancelled, work=Work())
    )


def _cancel_unknown(transaction: Transaction, asked: Asked) -> AskAnswer:
    known = transaction.jobs.row(asked.job_id) is not None
    if known or (asked.tenant is not None and not asked.by_key):
        return UnknownJob()
    calling_off.call_off(transaction, asked.job_id)
    return CalledOff()


def _settled(transaction: Transaction, row: JobRow, job: Job, *, others: bool = False) -> Settled:
    """Give the record to the asker, and with `others` to every submission that has not heard."""
    hear = transaction.jobs.to_hear(row.number, job.submission) if others else (job.submission,)
    ended = Ended(record=record(row, outcome_of(transaction, row)), hear=hear)
    return Settled(job=job, ended=ended)


def _find(transaction: Transaction, asked: Asked) -> tuple[JobRow, Job] | None:
    """Give the job's row and the job, if it is the asker's; the ask stands as its submission."""
    row = transaction.jobs.row(asked.job_id)
    if row is None:
        return None
    facts = _Facts._make(
        transaction.reading.execute(
            "SELECT tenant, key, tier, lane, path, model, priority, deadline FROM jobs WHERE number = ?",
            (row.number,),
        ).get
    )
    if asked.tenant is not None and facts.tenant != asked.tenant:
        return None
    return row, _job(row, facts, asked.submission)


def _job(row: JobRow, facts: _Facts, submission: Submission) -> Job:
    return Job(
        id=row.id,
        tenant=facts.tenant,
        key=facts.key,
        tier=facts.tier,
        lane=Lane(facts.lane),
        path=facts.path,
        model=facts.model,
        body=b"",
        content_hash=row.content_hash,
        dedupe=Dedupe.OFF,
        priority=facts.priority,
        submission=submission,
        submitted_at=from_us(row.submitted_at),
        received_at=from_us(row.received_at),
        deadline=from_us(facts.deadline),
        run=row.run,
        generation=row.generation,
        first=False,
    )
