"""`Ledger.end` and `Ledger.park` as transaction functions.

Both may find that the claim under which the call ran was taken over. If the taker lives and works on the
same job, its delivery carries the job from here, and ours is stale. If it took the key for another job, let
go of it or died, nobody but us has an outcome or a delivery at hand: then what we have is recorded after
all, since to drop the delivery would lose the job and to repeat the call would pay twice.
"""

from datetime import datetime

from producer_sdk.wire import Status
from worker.core.kinds import Kind
from worker.core.model import (
    Completed,
    DeadLetter,
    Decided,
    Ended,
    Failed,
    Follow,
    Job,
    Outcome,
    Park,
    Parked,
    Reply,
    Snooze,
    Stale,
    State,
    Terminal,
    Work,
)
from worker.store import outcomes
from worker.store.embedded import bodies, calling_off, claims
from worker.store.embedded.entering import enter
from worker.store.embedded.rows import Claim, JobRow, Line
from worker.store.embedded.standing import record, standing
from worker.store.embedded.transaction import Transaction
from worker.store.instants import span_us, to_us


def end(
    transaction: Transaction,
    job: Job,
    outcome: Outcome,
    settlement: Terminal,
    *,
    work: Work,
    claimed: bool,
) -> Decided | Follow:
    """Record outcome and settlement of the run, release the claim, and say who has to hear."""
    row, claim = _open(transaction, job, claimed=claimed)
    if not isinstance(row, JobRow):
        return row
    if not claimed and (running := claims.of_job(transaction, job.id)) is not None:
        # The living were left in place by `_open`. Somebody may want that call's answer for longer than this
        # delivery does, and a call must never outlive the record of its run.
        return Follow(leader=running.job_id)
    if claim is not None:
        claims.leave_answer(transaction, job, row, outcome)
        claims.release(transaction, claim)
    return write_end(transaction, row, job, outcome, settlement, work=work)


def write_end(  # noqa: PLR0917  # an end's own parts
    transaction: Transaction,
    row: JobRow,
    job: Job,
    outcome: Outcome,
    settlement: Terminal,
    *,
    work: Work,
) -> Ended:
    """Write the terminal record of an open run whose claim is released, and say who has to hear."""
    ended = _ended(transaction, row, outcome, settlement, work=work)
    _write_end(transaction, ended)
    calling_off.forget(transaction, row.id)
    if isinstance(outcome, Completed):
        bodies.keep(transaction, row.number, outcome)
    if isinstance(settlement, DeadLetter):
        _write_letter(transaction, ended, job, outcome=outcome, reason=settlement.reason)
    line = _line(ended.state.value, ended, work, outcome)
    transaction.jobs.add_line(ended, line, at=transaction.now)
    return Ended(
        record=record(ended, outcome),
        hear=transaction.jobs.to_hear(row.number, job.submission),
        letter_due=bool(ended.letter_due),
        written=True,
        history=transaction.jobs.history(ended),
    )


def park(
    transaction: Transaction,
    job: Job,
    settlement: Park,
    until: datetime,
    *,
    work: Work,
    why: Failed | None,
    claimed: bool,
) -> Decided:
    """Record that this generation waits as a parked copy, and release the claim."""
    row, claim = _open(transaction, job, claimed=claimed)
    if not isinstance(row, JobRow):
        return row
    claims.release(transaction, claim)
    running = claims.of_job(transaction, row.id) is not None
    if not running and transaction.jobs.is_called_off(row.id):
        # Nobody waits for the copy any more. While a call runs elsewhere, its process ends the job.
        cancelled = Reply(status=Status.CANCELLED)
        return write_end(transaction, row, job, Failed(kind=Kind.CANCELLED), cancelled, work=work)
    if row.generation != job.generation:
        return _parked_by_another(transaction, row, job, settlement, until, work=work, why=why)
    snoozed = isinstance(settlement, Snooze)
    kind = "snooze" if snoozed else "retry"
    transaction.jobs.change(
        None,
        "UPDATE jobs SET generation = generation + 1, attempts = max(0, attempts - ?),"
        " calls = calls + ?, refusals = refusals + ?, snoozes = snoozes + ?, upstream = upstream + ?,"
        " spent = ?, unpriced = unpriced + ?,"
        " park_kind = ?, park_after = ?, park_until = ?, park_carried = 0 WHERE number = ?",
        (
            int(snoozed and claimed),
            work.calls,
            work.refusals,
            int(snoozed),
            span_us(work.upstream),
            row.spent_with(work),
            work.unpriced,
            kind,
            span_us(settlement.after),
            to_us(until),
            row.number,
        ),
    )
    transaction.jobs.reread(row.id)
    if why is not None:  # a follower's snooze has no reason, and would flood the history
        transaction.jobs.add_line(row, _line(kind, row, work, why), at=transaction.now)
    return Parked(settlement=settlement, until=until, carried=False)


def _parked_by_another(  # noqa: PLR0917  # a park's own parts
    transaction: Transaction,
    row: JobRow,
    job: Job,
    settlement: Park,
    until: datetime,
    *,
    work: Work,
    why: Failed | None,
) -> Decided:
    """Count the work of a call whose delivery came again meanwhile and was parked: that copy goes on.

    It was parked for a follower's short wait; the call was told to wait until `begin` lets the copy go on.
    """
    transaction.connection.execute(
        "UPDATE jobs SET park_until = max(coalesce(park_until, 0), ?), attempts = max(0, attempts - ?),"
        " calls = calls + ?, refusals = refusals + ?, upstream = upstream + ?, spent = ?,"
        " unpriced = unpriced + ? WHERE number = ?",
        (
            to_us(until),
            int(isinstance(settlement, Snooze)),
            work.calls,
            work.refusals,
            span_us(work.upstream),
            row.spent_with(work),
            work.unpriced,
            row.number,
        ),
    )
    if why is not None:
        kind = "snooze" if isinstance(settlement, Snooze) else "retry"
        transaction.jobs.add_line(row, _line(kind, row, work, why), at=transaction.now)
    stands = standing(transaction, row, job)
    return Stale() if stands is None else stands


def _open(
    transaction: Transaction, job: Job, *, claimed: bool
) -> tuple[JobRow | Decided, Claim | None]:
    """Give the open row that may be settled and our claim to release; or what stands, the claim released."""
    claim = claims.of_job(transaction, job.id)
    if claim is not None and claim.owner != transaction.me:
        if not claims.lives(transaction, claim):
            claims.take_over(transaction, claim)
        elif claimed:
            stands = standing(transaction, transaction.jobs.row(job.id), job)
            return (Stale() if stands is None else stands), None
    # Without `claimed`, or of another run, a claim of this process belongs to a call that still runs.
    mine = claimed and claim is not None and claim.owner == transaction.me
    ours = claim if mine and claim is not None and claim.run == job.run else None
    if ours is not None:
        row = transaction.jobs.row(job.id)
        if row is not None and row.state is State.OPEN and row.run == job.run:
            # Whoever holds the claim has the outcome, also when its delivery came again and was parked by
            # a follower: to leave it to the parked copy would call a second time.
            return row, ours
    entered = enter(transaction, job)
    if not isinstance(entered, JobRow):
        claims.release(transaction, ours)
        return entered, None
    return entered, ours


def _ended(
    transaction: Transaction, row: JobRow, outcome: Outcome, settlement: Terminal, *, work: Work
) -> JobRow:
    written = (
        transaction.books.written(outcome)[0]
        if isinstance(outcome, Completed)
        else outcomes.written(outcome)
    )
    match settlement:
        case Reply(status=status):
            state, letter_due = State(status.value), 0
        case DeadLetter():
            state, letter_due = State.DEAD_LETTERED, 1
    return row._replace(
        state=state,
        letter_due=letter_due,
        outcome=written,
        calls=row.calls + work.calls,
        refusals=row.refusals + work.refusals,
        upstream=row.upstream + span_us(work.upstream),
        spent=row.spent_with(work),
        unpriced=row.unpriced + work.unpriced,
        ended_at=transaction.now,
    )


def _write_end(transaction: Transaction, ended: JobRow) -> None:
    transaction.jobs.change(
        ended,
        "UPDATE jobs SET state = ?, letter_due = ?, outcome = ?, calls = ?, refusals = ?, upstream = ?,"
        " spent = ?, unpriced = ?, ended_at = ?, expires_at = ? WHERE number = ?",
        (
            ended.state.value,
            ended.letter_due,
            ended.outcome,
            ended.calls,
            ended.refusals,
            ended.upstream,
            ended.spent,
            ended.unpriced,
            ended.ended_at,
            transaction.now + span_us(transaction.options.record_ttl),
            ended.number,
        ),
    )


def _write_letter(
    transaction: Transaction, ended: JobRow, job: Job, *, outcome: Outcome, reason: Kind
) -> None:
    failed = outcome if isinstance(outcome, Failed) else None
    transaction.connection.execute(
        "INSERT OR REPLACE INTO letters (job, run, kind, status, code, at, attempts, request)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ended.number,
            ended.run,
            reason.value,
            None if failed is None else failed.status,
            None if failed is None else failed.code,
            transaction.now,
            ended.attempts,
            job.body,
        ),
    )


def _line(what: str, row: JobRow, work: Work, outcome: Outcome) -> Line:
    failed = outcome if isinstance(outcome, Failed) else None
    return Line(
        what=what,
        attempt=row.attempts,
        kind=None if failed is None else failed.kind.value,
        status=None if failed is None else failed.status,
        endpoint=outcome.endpoint,
        calls=work.calls + work.refusals,
        upstream_us=span_us(work.upstream),
    )
