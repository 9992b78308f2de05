"""One job's rows: its own, its submissions and its history."""

from typing import Final, NamedTuple

import apsw

from worker.core.model import HistoryEntry, Job, State, Submission, Tally, Work
from worker.core.money import dollars, whole
from worker.store.embedded.transaction import Transaction
from worker.store.instants import from_us, span_us, to_us

# A job that waits for weeks writes a line each time it is parked; its newest lines are kept.
HISTORY_LINES: Final = 200


class JobRow(NamedTuple):
    """What the ledger knows of a job and its current run; instants and durations in microseconds."""

    number: int
    id: str
    content_hash: str
    state: State
    run: int
    generation: int
    carrier: str
    received_at: int
    submitted_at: int
    begun_at: int | None
    attempts: int
    calls: int
    refusals: int
    snoozes: int
    upstream: int
    spent: str
    unpriced: int
    outcome: str | None
    ended_at: int | None
    letter_due: int
    park_kind: str | None
    park_after: int | None
    park_until: int | None
    park_carried: int | None

    @property
    def tally(self) -> Tally:
        """What the run has spent so far."""
        return Tally(
            attempts=self.attempts,
            calls=self.calls,
            refusals=self.refusals,
            snoozes=self.snoozes,
            spent=dollars(int(self.spent)),
            unpriced=self.unpriced,
        )

    def spent_with(self, work: Work) -> str:
        """Give what the run has spent with an attempt's work added, as it is kept."""
        return str(int(self.spent) + whole(work.spent))


class Line(NamedTuple):
    """What a line of history says besides when and in which run."""

    what: str
    attempt: int
    kind: str | None = None
    status: int | None = None
    endpoint: str | None = None
    calls: int = 0
    upstream_us: int = 0


def load(connection: apsw.Connection, job_id: str) -> JobRow | None:
    """Give a job's row."""
    found = connection.execute(
        "SELECT number, id, content_hash, state, run, generation, carrier, received_at, submitted_at,"
        " begun_at, attempts, calls, refusals, snoozes, upstream, spent, unpriced, outcome, ended_at,"
        " letter_due, park_kind, park_after, park_until, park_carried FROM jobs WHERE id = ?",
        (job_id,),
    ).fetchone()
    if found is None:
        return None
    row = JobRow._make(found)
    return row._replace(state=State(row.state))


def insert(transaction: Transaction, job: Job) -> JobRow:
    """Write the row of a job that the ledger does not know, as this delivery shows it."""
    transaction.connection.execute(
        "INSERT INTO jobs (id, tenant, key, tier, lane, path, model, content_hash, priority, state,"
        " run, generation, carrier, received_at, submitted_at, deadline, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?)",
        (
            job.id,
            job.tenant,
            job.key,
            job.tier,
            job.lane.value,
            job.path,
            job.model,
            job.content_hash,
            job.priority,
            job.run,
            job.generation,
            job.submission.id,
            to_us(job.received_at),
            to_us(job.submitted_at),
            to_us(job.deadline),
            expiry_of_open(transaction, job),
        ),
    )
    return JobRow(
        number=transaction.connection.last_insert_rowid(),
        id=job.id,
        content_hash=job.content_hash,
        state=State.OPEN,
        run=job.run,
        generation=job.generation,
        carrier=job.submission.id,
        received_at=to_us(job.received_at),
        submitted_at=to_us(job.submitted_at),
        begun_at=None,
        attempts=0,
        calls=0,
        refusals=0,
        snoozes=0,
        upstream=0,
        spent="0",
        unpriced=0,
        outcome=None,
        ended_at=None,
        letter_due=0,
        park_kind=None,
        park_after=None,
        park_until=None,
        park_carried=None,
    )


def expiry_of_open(transaction: Transaction, job: Job) -> int:
    """Give the instant from which a job that never ends is forgotten: long after its deadline."""
    return max(to_us(job.deadline), transaction.now) + span_us(transaction.options.record_ttl)


def note_submission(connection: apsw.Connection, number: int, submission: Submission) -> None:
    """Note a submission that has not heard yet; one that is known stays as it is."""
    connection.execute(
        "INSERT OR IGNORE INTO submissions (job, id, reply_to, heard) VALUES (?, ?, ?, 0)",
        (number, submission.id, submission.reply_to),
    )


def to_hear(
    connection: apsw.Connection, number: int, submission: Submission
) -> tuple[Submission, ...]:
    """Give the submissions that have not heard yet, this one included unless it has heard."""
    known = {
        id_: (Submission(id=id_, reply_to=reply_to), heard)
        for id_, reply_to, heard in connection.execute(
            "SELECT id, reply_to, heard FROM submissions WHERE job = ? AND (heard = 0 OR id = ?)",
            (number, submission.id),
        )
    }
    known.setdefault(submission.id, (submission, 0))
    return tuple(one for one, heard in known.values() if not heard)


def add_line(transaction: Transaction, row: JobRow, line: Line) -> None:
    """Write a line of the job's history."""
    written = transaction.connection.execute(
        "INSERT INTO history (job, line, at, run, generation, attempt, what, kind, status, endpoint,"
        " calls, upstream_ms) VALUES (?1, (SELECT coalesce(max(line), 0) + 1 FROM history WHERE job = ?1),"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING line",
        (
            row.number,
            transaction.now,
            row.run,
            row.generation,
            line.attempt,
            line.what,
            line.kind,
            line.status,
            line.endpoint,
            line.calls,
            line.upstream_us // 1000,
        ),
    ).get
    if written > HISTORY_LINES:
        transaction.connection.execute(
            "DELETE FROM history WHERE job = ? AND line <= ?", (row.number, written - HISTORY_LINES)
        )


def history_of(
    connection: apsw.Connection, number: int, run: int | None = None
) -> tuple[HistoryEntry, ...]:
    """Give a job's history, oldest line first; `run`: that run's alone."""
    return tuple(
        HistoryEntry(
            at=from_us(at),
            run=of_run,
            generation=generation,
            attempt=attempt,
            what=what,
            kind=kind,
            status=status,
            endpoint=endpoint,
            calls=calls,
            upstream_ms=upstream_ms,
        )
        for at, of_run, generation, attempt, what, kind, status, endpoint, calls, upstream_ms in (
            connection.execute(
                "SELECT at, run, generation, attempt, what, kind, status, endpoint, calls, upstream_ms"
                " FROM history WHERE job = ? AND run = coalesce(?, run) ORDER BY line",
                (number, run),
            )
        )
    )
