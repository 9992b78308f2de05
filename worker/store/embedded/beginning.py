"""`Ledger.begin` as a transaction function, and its undoing for a caller that was cancelled meanwhile."""

from dataclasses import replace

from producer_sdk.wire import Dedupe, Source
from worker.core.limits import Full, Taken, Used
from worker.core.model import (
    Answered,
    Beginning,
    CalledOff,
    Completed,
    Early,
    Exhausted,
    Follow,
    Job,
    Outcome,
    Started,
    State,
)
from worker.core.spend import OverBudget
from worker.core.terms import Terms
from worker.ports import Clock
from worker.store.embedded import claims, limits, spend
from worker.store.embedded.entering import enter
from worker.store.embedded.rows import JobRow
from worker.store.embedded.standing import outcome_of
from worker.store.embedded.transaction import Transaction
from worker.store.instants import from_us, to_us


def begin_on(
    terms: Terms | None, transaction: Transaction, job: Job, max_attempts: int, *, clock: Clock
) -> Beginning:
    """Begin if there is room for all of the terms, and count them if it has begun."""
    at = (
        clock.monotonic()
    )  # before all that may take its time: what is counted is no older than it seems
    if terms is None:
        begun = begin(transaction, job, max_attempts)
        if not isinstance(begun, Started):
            return begun
        return Started(attempt=begun.attempt, tally=begun.tally, at=at)
    # Not the transaction's time: a meter that has been looked at since is ahead of that.
    books, now = transaction.books, clock.now()
    levels = limits.room(books, terms.charges, to_us(now))
    if isinstance(levels, Full):
        return levels
    pots = () if (money := terms.reservation) is None else spend.room(books, money, now)
    if isinstance(pots, OverBudget):
        return pots
    begun = begin(transaction, job, max_attempts)
    if not isinstance(begun, Started):
        return begun
    if money is not None:
        spend.count(books, money, pots, now)
    taken = limits.count(books, terms.charges, levels, to_us(now))
    return Started(attempt=begun.attempt, tally=begun.tally, taken=taken, at=at)


def begin(transaction: Transaction, job: Job, max_attempts: int) -> Beginning:
    """Claim the job's call and count the attempt, or say why not."""
    row = enter(transaction, job)
    if not isinstance(row, JobRow):
        return row
    return _obstacle(transaction, row, job, max_attempts) or _start(transaction, row, job)


def _obstacle(
    transaction: Transaction, row: JobRow, job: Job, max_attempts: int
) -> Beginning | None:
    """Tell why an open job may not be called now; None: it may."""
    if transaction.jobs.is_called_off(job.id):
        return CalledOff()
    claim = claims.in_the_way(transaction, job)
    if claim is not None:
        claims.want(transaction, claim, job)
        return Follow(leader=claim.job_id)
    outcome = _answer(transaction, row, job)
    if outcome is not None:
        return Answered(outcome=outcome)
    if _is_early(transaction, row, job):
        return Early(until=from_us(row.park_until or 0))
    if row.attempts >= max_attempts:
        return Exhausted(tally=row.tally)
    return None


def _is_early(transaction: Transaction, row: JobRow, job: Job) -> bool:
    """Tell whether the copy's own time is not the one up to which its generation was parked in the end."""
    if job.not_before is None or row.park_until is None:
        return False
    return row.park_until > max(transaction.now, to_us(job.not_before))


def give_back(transaction: Transaction, job: Job, taken: Taken, *, clock: Clock) -> None:
    """Undo a `Started` that nobody received: no call was made, so none is counted."""
    unused = Used(taken, [0] * len(taken.charges))
    limits.settle(transaction.books, unused, to_us(clock.now()))
    claim = claims.of_job(transaction, job.id)
    if claim is None or claim.owner != transaction.me or claim.run != job.run:
        return
    claims.release(transaction, claim)
    transaction.connection.execute(
        "UPDATE jobs SET attempts = max(0, attempts - 1) WHERE id = ? AND run = ? AND state = 'open'",
        (job.id, job.run),
    )


def _start(transaction: Transaction, row: JobRow, job: Job) -> Started:
    claims.take(transaction, job, row)
    begun = transaction.jobs.begin(row, transaction.now)
    return Started(attempt=begun.attempts, tally=begun.tally)


def _answer(transaction: Transaction, row: JobRow, job: Job) -> Outcome | None:
    """Give the outcome that an ended claim of the key left for this job.

    A failure, or for `inflight` any outcome, is shared only with those who waited for it: it must have ended
    since this run was first received. So a replay is never answered with the failure that it is to mend.
    The answer of a model to fall back to is theirs alone too, also for `cache`: nobody asked for that model.
    """
    if job.dedupe is Dedupe.OFF:
        return None
    answer = transaction.jobs.answer(job.claim_key)
    if answer is None:
        return None
    leader = transaction.jobs.row(answer.job_id)
    if leader is None or leader.state is State.OPEN or leader.run != answer.run:
        return None
    outcome = outcome_of(transaction, leader)
    waited = answer.ended_at >= row.received_at
    if isinstance(outcome, Completed):
        shared = waited or (job.dedupe is Dedupe.CACHE and not outcome.fallback)
        return replace(outcome, source=Source.SHARED) if shared else None
    return outcome if waited else None
