"""`Ledger.carried` as a transaction function."""

from collections.abc import Sequence

from worker.core.model import Job, State, Submission
from worker.store.embedded import rows
from worker.store.embedded.transaction import Transaction


def carry(transaction: Transaction, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
    """Note that a settlement was carried out.

    Only for the run that the delivery belongs to: when a replay has opened a later run meanwhile, its
    submissions have to hear again, and a reply too many is better than one too few.
    """
    connection = transaction.connection
    row = rows.load(connection, job.id)
    if row is None or row.content_hash != job.content_hash or row.run != job.run:
        return
    if not heard and not letter:
        connection.execute(
            "UPDATE jobs SET park_carried = 1 WHERE number = ? AND generation = ?",
            (row.number, job.generation + 1),
        )
        return
    if row.state is State.OPEN:
        return
    connection.executemany(
        "INSERT INTO submissions (job, id, reply_to, heard) VALUES (?, ?, ?, 1)"
        " ON CONFLICT (job, id) DO UPDATE SET heard = 1",
        [(row.number, submission.id, submission.reply_to) for submission in heard],
    )
    if letter:
        connection.execute("UPDATE jobs SET letter_due = 0 WHERE number = ?", (row.number,))
