"""What one call cost, whatever came of it."""

from dataclasses import replace
from datetime import datetime

from worker.core.model import Completed, Outcome
from worker.ports import Pricing


def charged(
    outcome: Outcome, *, asked: str, at: datetime, price: Pricing, fallback: bool = False
) -> Outcome:
    """Give the outcome of a call made at the instant `at`, with what it cost as far as that is known.

    `asked` is the model's name in the request; `fallback`: it is not the one that the job asks for.

    A failure whose answer told its usage is priced by that, which goes before what its status lets expect; then the
    usage is dropped, which nobody else reads.
    """
    usage, cost = outcome.usage, outcome.cost
    if usage is not None:
        endpoint, answered = outcome.endpoint or "", outcome.model
        cost = price(endpoint=endpoint, asked=asked, answered=answered, usage=usage, at=at)
    if isinstance(outcome, Completed):
        return outcome.charged(cost, fallback=fallback)
    return outcome if usage is None else replace(outcome, cost=cost, usage=None, model=None)
