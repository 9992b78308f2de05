"""What is settled with the record of an attempt, in its transaction."""

from worker.core.bill import Bill
from worker.core.model import Completed, Outcome
from worker.ports import Clock
from worker.store.embedded import cache, limits, spend
from worker.store.embedded.transaction import Transaction
from worker.store.instants import to_us


def settle(transaction: Transaction, bill: Bill, outcome: Outcome | None, *, clock: Clock) -> None:
    """Settle a bill; the response is kept if there is one."""
    books = transaction.books
    for used in bill.used:
        # Not the transaction's time: a meter that has been looked at since is ahead of that.
        limits.settle(books, used, to_us(clock.now()))
    for reserved, usd in bill.spent:
        spend.settle(books, reserved.name, usd)
    if bill.fingerprint is not None and isinstance(outcome, Completed):
        cache.keep(
            books, bill.fingerprint, outcome, now=transaction.now, options=transaction.options
        )
