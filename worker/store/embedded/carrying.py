"""`Ledger.carried` as a transaction function."""

from collections.abc import Sequence

from worker.core.model import Job, State, Submission
from worker.store.embedded.transaction import Transaction


def carry(transaction: Transaction, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
    """Note that a settlement was carried out.

    Only for the run that the delivery belongs to: when a replay has opened a later run meanwhile, its
    submissions have to hear again, and a reply too many is better than one too few.
    """
    jobs = transaction.jobs
    row = jobs.row(job.id)
    if row is None or row.content_hash != job.content_hash or row.run != job.run:
        return
    if not heard and not letter:
        if row.generation == job.generation + 1:
            jobs.change(
                row._replace(park_carried=1),
                "UPDATE jobs SET park_carried = 1 WHERE number = ?",
                (row.number,),
            )
            jobs.let_go(row, job)
        return
    if row.state is State.OPEN:
        return
    jobs.let_go(row, job)
    for submission in heard:
        jobs.hear(row.number, submission)
    if letter:
        jobs.change(
            row._replace(letter_due=0),
            "UPDATE jobs SET letter_due = 0 WHERE number = ?",
            (row.number,),
        )
