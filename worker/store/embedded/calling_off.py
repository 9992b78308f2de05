"""Cancelled jobs that have no record yet: no worker knows them, or their call still runs."""

from worker.store.embedded.rows import Claim
from worker.store.embedded.transaction import Transaction
from worker.store.instants import span_us


def call_off(transaction: Transaction, job_id: str) -> None:
    """Let the job end as cancelled as soon as a worker has it in hand."""
    transaction.connection.execute(
        "INSERT OR REPLACE INTO called_off (job_id, expires_at) VALUES (?, ?)",
        (job_id, transaction.now + span_us(transaction.options.record_ttl)),
    )


def forget(transaction: Transaction, job_id: str) -> None:
    """Drop what the job's record makes superfluous."""
    if not transaction.jobs.is_called_off(job_id):
        return
    transaction.connection.execute("DELETE FROM called_off WHERE job_id = ?", (job_id,))


def closes(transaction: Transaction, claim: Claim) -> bool:
    """Tell whether the call under a claim of this process is among `mine`."""
    return transaction.jobs.is_called_off(claim.job_id) and not claim.followed


def mine(transaction: Transaction) -> frozenset[str]:
    """Give the called-off jobs whose call this process makes, and nobody else waits for.

    A call that others wait for is not closed: they would have to pay for another one.
    """
    return frozenset(
        job_id
        for (job_id,) in transaction.reading.execute(
            # CROSS keeps the order: few jobs are called off, and each call in flight has a claim.
            "SELECT c.job_id FROM called_off o CROSS JOIN claims c ON c.job_id = o.job_id"
            " WHERE c.owner = ? AND c.followed = 0",
            (transaction.me,),
        )
    )
