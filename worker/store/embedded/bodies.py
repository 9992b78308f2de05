"""Response bodies: apart from their jobs, because they are large and expire early; verified when read."""

import hashlib

from worker.core.model import Completed
from worker.store.embedded.transaction import Transaction
from worker.store.instants import span_us


def keep(transaction: Transaction, number: int, completed: Completed) -> None:
    """Store a job's response body for its lifetime."""
    expires_at = transaction.now + span_us(transaction.options.result_ttl)
    _, checksum = transaction.books.written(completed)
    transaction.jobs.keep_body(number, checksum, completed.body, expires_at=expires_at)


def kept(transaction: Transaction, number: int, job_id: str) -> bytes | None:
    """Give a job's response body; None when it has expired, or is not what was stored."""
    found = transaction.reading.execute(
        "SELECT sha256, body FROM bodies WHERE job = ? AND expires_at > ?",
        (number, transaction.now),
    ).fetchone()
    if found is None:
        return None
    checksum, body = found
    if hashlib.sha256(body).digest() != checksum:
        transaction.damaged.append(job_id)
        return None
    return bytes(body)
