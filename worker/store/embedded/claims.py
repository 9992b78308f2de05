"""Claims, and the answers that ended claims leave for those who followed them.

A job holds at most one claim and a key is held at most once, both by the table's own rules: so even when
two deliveries of a job disagree about sharing, only one of them calls.
"""

from typing import NamedTuple

import apsw

from producer_sdk.wire import Dedupe
from worker.core.model import Job, Outcome
from worker.store import outcomes
from worker.store.embedded import rows
from worker.store.embedded.rows import JobRow, Line
from worker.store.embedded.transaction import Transaction
from worker.store.instants import to_us


class Claim(NamedTuple):
    """A row of `claims`."""

    key: str
    owner: str
    job_id: str
    run: int
    followed: int = 0


class Answer(NamedTuple):
    """A row of `answers`: the run that ended under a claim key."""

    job_id: str
    run: int
    ended_at: int


def of_job(transaction: Transaction, job_id: str) -> Claim | None:
    """Give the claim that a job holds."""
    found = transaction.connection.execute(
        "SELECT key, owner, job_id, run, followed FROM claims WHERE job_id = ?", (job_id,)
    ).fetchone()
    return None if found is None else Claim._make(found)


def in_the_way(transaction: Transaction, job: Job) -> Claim | None:
    """Give a living claim of the job or its key; remove those of the dead, with a line of history."""
    for found in transaction.connection.execute(
        "SELECT key, owner, job_id, run, followed FROM claims WHERE key = ? OR job_id = ?",
        (job.claim_key, job.id),
    ).fetchall():
        claim = Claim._make(found)
        if lives(transaction, claim):
            return claim
        take_over(transaction, claim)
    return None


def lives(transaction: Transaction, claim: Claim) -> bool:
    """Tell whether the claim's owner lives; this process does."""
    return claim.owner == transaction.me or transaction.alive(transaction.connection, claim.owner)


def take_over(transaction: Transaction, claim: Claim) -> None:
    """Remove a dead owner's claim; its job's history tells of the attempt that left no outcome."""
    _remove(transaction, claim)
    row = rows.load(transaction.connection, claim.job_id)
    if row is not None and row.run == claim.run:
        rows.add_line(transaction, row, Line(what="taken over", attempt=row.attempts))


def take(transaction: Transaction, job: Job, row: JobRow) -> None:
    """Write this process's claim; nothing may be in the way."""
    transaction.connection.execute(
        "INSERT INTO claims (key, owner, job_id, run) VALUES (?, ?, ?, ?)",
        (job.claim_key, transaction.me, row.id, row.run),
    )


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
    if job.dedupe is Dedupe.OFF or not outcomes.shareable(outcome):
        return
    transaction.connection.execute(
        "INSERT OR REPLACE INTO answers (key, job_id, run, ended_at) VALUES (?, ?, ?, ?)",
        (job.claim_key, row.id, row.run, transaction.now),
    )


def answer(connection: apsw.Connection, job: Job) -> Answer | None:
    """Give the run that ended last under the job's claim key."""
    if job.dedupe is Dedupe.OFF:
        return None
    found = connection.execute(
        "SELECT job_id, run, ended_at FROM answers WHERE key = ?", (job.claim_key,)
    ).fetchone()
    return None if found is None else Answer._make(found)


def _remove(transaction: Transaction, claim: Claim) -> None:
    transaction.connection.execute("DELETE FROM claims WHERE key = ?", (claim.key,))
    transaction.freed.append(claim.key)
