"""How a delivery enters the books: a new job, a submission that joins one, a replay that opens it again."""

from datetime import timedelta
from typing import Final

from worker.core.model import Decided, Job, Joined, State
from worker.store.embedded import claims
from worker.store.embedded.rows import JobRow, Line
from worker.store.embedded.standing import standing
from worker.store.embedded.transaction import Transaction
from worker.store.instants import span_us, to_us

# The longest hop through a parking queue, and some minutes for a queue in front of the workers.
_LONGEST_AWAY: Final = timedelta(minutes=45)


def enter(transaction: Transaction, job: Job) -> JobRow | Decided:
    """Give the open row that this delivery carries, or what was decided for the delivery already.

    The first delivery of a submission that does not carry the open job only has its route noted: another
    message brings the job, so this one neither calls nor ends nor parks it.
    """
    row = transaction.jobs.row(job.id)
    decided = standing(transaction, row, job)
    if decided is not None:
        return decided
    if row is None:
        row = transaction.jobs.insert(job, expires_at=_expiry_of_open(transaction, job))
    elif row.state is State.OPEN and job.first and job.submission.id != row.carrier:
        if not _is_abandoned(transaction, row):
            return _join(transaction, row, job)
        row = _adopt(transaction, row, job)
    elif job.run > row.run:
        row = _reopen(transaction, row, job)
    elif job.generation > row.generation:
        row = _catch_up(transaction, row, job)
    transaction.jobs.note_submission(row.number, job.submission)
    return row


def _join(transaction: Transaction, row: JobRow, job: Job) -> Joined:
    transaction.jobs.note_submission(row.number, job.submission)
    claim = claims.of_job(transaction, row.id)
    if claim is not None:
        claims.want(transaction, claim, job)
    return Joined()


def _is_abandoned(transaction: Transaction, row: JobRow) -> bool:
    """Tell whether the message that carried the open job is lost, as after a purge of its queue.

    Whatever waited for it would have come back, and ended it, soon after its deadline. A replay's message
    cannot be stood in for: a first delivery is of run 1.
    """
    overdue = transaction.reading.execute(
        "SELECT 1 FROM jobs WHERE number = ? AND deadline < ?",
        (row.number, transaction.now - span_us(_LONGEST_AWAY)),
    ).fetchone()
    return row.run == 1 and overdue is not None and claims.of_job(transaction, row.id) is None


def _adopt(transaction: Transaction, row: JobRow, job: Job) -> JobRow:
    """Let this submission's message carry the job from here; what was spent stays spent."""
    transaction.connection.execute(
        "UPDATE jobs SET carrier = ?, generation = 0, deadline = ?, received_at = ?, expires_at = ?,"
        " park_kind = NULL, park_after = NULL, park_until = NULL, park_carried = NULL WHERE number = ?",
        (
            job.submission.id,
            to_us(job.deadline),
            to_us(job.received_at),
            _expiry_of_open(transaction, job),
            row.number,
        ),
    )
    adopted = transaction.jobs.row(row.id)
    assert adopted is not None  # noqa: S101  # the row was just written in this transaction
    return adopted


def _reopen(transaction: Transaction, row: JobRow, job: Job) -> JobRow:
    """Start the replay's run: nothing spent, nobody has heard, no dead letter.

    The run was not received before the former one ended: so the former run's own failure, or an answer of
    that time, is none of its answers.
    """
    connection = transaction.connection
    received_at = max(to_us(job.received_at), row.ended_at or 0)
    connection.execute(
        "UPDATE jobs SET state = 'open', run = ?, generation = ?, tier = ?, lane = ?, priority = ?,"
        " received_at = ?, submitted_at = ?, deadline = ?, begun_at = NULL, attempts = 0, calls = 0,"
        " refusals = 0, snoozes = 0, upstream = 0, spent = '0', unpriced = 0, outcome = NULL, ended_at = NULL, letter_due = 0,"
        " park_kind = NULL, park_after = NULL, park_until = NULL, park_carried = NULL, expires_at = ?"
        " WHERE number = ? AND run = ?",
        (
            job.run,
            job.generation,
            job.tier,
            job.lane.value,
            job.priority,
            received_at,
            to_us(job.submitted_at),
            to_us(job.deadline),
            _expiry_of_open(transaction, job),
            row.number,
            row.run,
        ),
    )
    connection.execute("UPDATE submissions SET heard = 0 WHERE job = ?", (row.number,))
    connection.execute("DELETE FROM letters WHERE job = ?", (row.number,))
    connection.execute("DELETE FROM bodies WHERE job = ?", (row.number,))
    opened = transaction.jobs.row(row.id)
    assert opened is not None  # noqa: S101  # the row was just written in this transaction
    transaction.jobs.add_line(opened, Line(what="replayed", attempt=0), at=transaction.now)
    return opened


def _catch_up(transaction: Transaction, row: JobRow, job: Job) -> JobRow:
    """Believe the message where the file has lost its last commits: its generation was parked once."""
    caught_up = row._replace(
        generation=job.generation,
        park_kind=None,
        park_after=None,
        park_until=None,
        park_carried=None,
    )
    transaction.jobs.change(
        caught_up,
        "UPDATE jobs SET generation = ?, park_kind = NULL, park_after = NULL, park_until = NULL,"
        " park_carried = NULL WHERE number = ?",
        (job.generation, row.number),
    )
    return caught_up


def _expiry_of_open(transaction: Transaction, job: Job) -> int:
    """Give the instant from which a job that never ends is forgotten: long after its deadline."""
    return max(to_us(job.deadline), transaction.now) + span_us(transaction.options.record_ttl)
