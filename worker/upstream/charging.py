"""What one call cost, whatever came of it, and the sum of an attempt's calls."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from worker.core.model import Completed, Outcome
from worker.core.money import plus
from worker.ports import Pricing


def charged(outcome: Outcome, *, asked: str, at: datetime, price: Pricing) -> Outcome:
    """Give the outcome of a call made at the instant `at`, with what it cost as far as that is known.

    `asked` is the model's name in the request.

    A failure whose answer told its usage is priced by that, which goes before what its status lets expect; then the
    usage is dropped, which nobody else reads.
    """
    if outcome.usage is None:
        return outcome
    cost = price(
        endpoint=outcome.endpoint or "",
        asked=asked,
        answered=outcome.model,
        usage=outcome.usage,
        at=at,
    )
    if isinstance(outcome, Completed):
        return outcome if cost is None else replace(outcome, cost=cost)
    return replace(outcome, cost=cost, usage=None, model=None)


@dataclass(slots=True)
class Bill:
    """What an attempt's calls have cost so far: `spent` in US dollars, `unpriced` calls of no known cost."""

    spent: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, cost: Decimal | None) -> None:
        """Add a call's cost; None: it is not known."""
        if cost is None:
            self.unpriced += 1
        else:
            self.spent = plus(self.spent, cost)
