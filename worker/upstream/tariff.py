"""What the endpoints of a tier charge for the same call: for the choice by price, and for what that has saved."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from worker.core.model import Completed, Usage
from worker.ports import Clock, Pricing

# Prompts are longer than answers; where the order of two endpoints depends on by how much, their prices are alike.
_TYPICAL: Final = Usage(prompt_tokens=3000, completion_tokens=1000)


class Tariff:
    """Compares endpoints by the prices that are known of them."""

    def __init__(self, price: Pricing, *, clock: Clock) -> None:
        self._price = price
        self._clock = clock

    def of(self, endpoint: str, model: str) -> float | None:
        """Give what a typical call for the model costs at the endpoint now, in US dollars; None: not known."""
        cost = self._cost(endpoint, model, _TYPICAL, self._clock.now())
        return None if cost is None else float(cost)

    def saved(
        self, completed: Completed, *, model: str, endpoints: Iterable[str], at: datetime
    ) -> Decimal | None:
        """Give how much more the call would have cost at the dearest of the endpoints; None: nothing, or not known."""
        if completed.usage is None or completed.cost is None:
            return None
        costs = [self._cost(each, model, completed.usage, at) for each in endpoints]
        dearest = max((cost for cost in costs if cost is not None), default=completed.cost)
        return dearest - completed.cost if dearest > completed.cost else None

    def _cost(self, endpoint: str, model: str, usage: Usage, at: datetime) -> Decimal | None:
        return self._price(endpoint=endpoint, asked=model, answered=None, usage=usage, at=at)
