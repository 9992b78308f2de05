"""Claims, and the answers that ended claims leave for those who followed them.

A job holds at most one claim and a key is held at most once, both by the table's own rules: so even when
two deliveries of a job disagree about sharing, only one of them calls.
"""

from producer_sdk.wire import Dedupe
from worker.core.model import Job, Outcome
from worker.store import outcomes
from worker.store.embedded.rows import Answer, Claim, JobRow, Line
from worker.store.embedded.transaction import Transaction
from worker.store.instants import to_us


def of_job(transaction: Transaction, job_id: str) -> Claim | None:
    """Give the claim that a job holds."""
    return transaction.jobs.claim_of(job_id)


def in_the_way(transaction: Transaction, job: Job) -> Claim | None:
    """Give a living claim of the job or its key; remove those of the dead, with a line of history."""
    for claim in transaction.jobs.claims_in_the_way(job.claim_key, job.id):
        if lives(transaction, claim):
            return claim
        take_over(transaction, claim)
    return None


def lives(transaction: Transaction, claim: Claim) -> bool:
    """Tell whether the claim's owner lives; this process does."""
    return claim.owner == transaction.me or transaction.alive(transaction.reading, claim.owner)


def take_over(transaction: Transaction, claim: Claim) -> None:
    """Remove a dead owner's claim; its job's history tells of the attempt that left no outcome."""
    _remove(transaction, claim)
    row = transaction.jobs.row(claim.job_id)
    if row is not None and row.run == claim.run:
        line = Line(what="taken over", attempt=row.attempts)
        transaction.jobs.add_line(row, line, at=transaction.now)


def take(transaction: Transaction, job: Job, row: JobRow) -> None:
    """Write this process's claim; nothing may be in the way."""
    transaction.jobs.take(Claim(job.claim_key, transaction.me, row.id, row.run))


def release(transaction: Transaction, claim: Claim | None) -> None:
    """Remove the claim if it is this process's."""
    if claim is not None and claim.owner == transaction.me:
        _remove(transaction, claim)


def want(transaction: Transaction, claim: Claim, job: Job) -> None:
    """Note that the claim's call is wanted until this job's deadline, and whether it is another job's."""
    transaction.connection.execute(
        "UPDATE claims SET wanted_until = max(coalesce(wanted_until, 0), ?), followed = max(followed, ?)"
        " WHERE key = ?",
        (to_us(job.deadline), claim.job_id != job.id, claim.key),
    )


def leave_answer(transaction: Transaction, job: Job, row: JobRow, outcome: Outcome) -> None:
    """Let followers of the claim find this run's outcome, if it holds for them too."""
    if job.dedupe is not Dedupe.OFF and outcomes.shareable(outcome):
        answer = Answer(row.id, row.run, transaction.now)
        transaction.jobs.leave_answer(job.claim_key, answer)


def _remove(transaction: Transaction, claim: Claim) -> None:
    transaction.jobs.release(claim)
    transaction.freed.append(claim.key)
