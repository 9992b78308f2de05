"""The rule of `find`: what was decided for a delivery already. It reads and writes nothing."""

from producer_sdk.wire import Status
from worker.core.model import (
    CalledOff,
    Conflict,
    Decided,
    Ended,
    Job,
    Outcome,
    Park,
    Parked,
    Record,
    Retry,
    Snooze,
    Stale,
    State,
)
from worker.store import outcomes
from worker.store.embedded import bodies
from worker.store.embedded.rows import JobRow
from worker.store.embedded.transaction import Transaction
from worker.store.instants import from_us, us_span


def find(transaction: Transaction, job: Job) -> Decided | CalledOff | None:
    """Tell what was decided for a delivery already, or that its job was called off; see `Ledger.find`."""
    decided = standing(transaction, transaction.jobs.row(job.id), job)
    if decided is None and transaction.jobs.is_called_off(job.id):
        return CalledOff()
    return decided


def standing(transaction: Transaction, row: JobRow | None, job: Job) -> Decided | None:
    """Tell what was decided for this delivery; None: nothing, it may go on.

    None for a first delivery of an open job does not say that it carries the job: `entering` tells.
    """
    if row is None:
        return None
    if row.content_hash != job.content_hash:
        return Conflict()
    if row.state is State.OPEN:
        return _of_open(row, job)
    if job.first or job.run == row.run:
        return ended(transaction, row, job)
    if job.run < row.run:
        return Stale()
    # A later run: a replay. What completed is never called for again, whatever the message says.
    return ended(transaction, row, job) if row.state is State.COMPLETED else None


def ended(transaction: Transaction, row: JobRow, job: Job) -> Ended:
    """Give the run's terminal record, and who has to hear of it."""
    return Ended(
        record=record(row, outcome_of(transaction, row)),
        hear=transaction.jobs.to_hear(row.number, job.submission),
        letter_due=bool(row.letter_due),
        history=transaction.jobs.history(row),
    )


def record(row: JobRow, outcome: Outcome | None) -> Record:
    """Give the terminal record of a run that has ended; it waited until its first call, or to its end."""
    ended_at = row.submitted_at if row.ended_at is None else row.ended_at
    begun_at = ended_at if row.begun_at is None else row.begun_at
    return Record(
        job_id=row.id,
        run=row.run,
        state=row.state,
        outcome=outcome,
        tally=row.tally,
        # A producer's clock may run ahead of ours: no duration is negative.
        waited=us_span(max(0, begun_at - row.submitted_at)),
        upstream=us_span(row.upstream),
        total=us_span(max(0, ended_at - row.submitted_at)),
    )


def outcome_of(transaction: Transaction, row: JobRow) -> Outcome | None:
    """Give a run's outcome; None when there is none, or its response is not kept any more."""
    if row.outcome is None:
        return None
    body = (
        bodies.kept(transaction, row.number, row.id)
        if row.state.value == Status.COMPLETED.value
        else None
    )
    return outcomes.read(row.outcome, body)


def _of_open(row: JobRow, job: Job) -> Decided | None:
    if job.first and job.submission.id != row.carrier:
        return None
    if job.run < row.run:
        return Stale()
    if job.run > row.run or job.generation >= row.generation:
        return None
    if job.generation == row.generation - 1 and row.park_kind is not None:
        return _parked(row)
    return Stale()


def _parked(row: JobRow) -> Parked:
    after = us_span(row.park_after or 0)
    settlement: Park = Retry(after=after) if row.park_kind == "retry" else Snooze(after=after)
    return Parked(
        settlement=settlement,
        until=from_us(row.park_until or 0),
        carried=bool(row.park_carried),
    )
