"""What a call costs: usage times price, exact to the last digit. Money is `Decimal`, never `float`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from worker.core.model import Usage

# Prices have at most about 20 digits and counts 16, so that no sum of four products is ever rounded.
_EXACT: Final = Context(prec=80)
_MILLION: Final = -6
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's tokens cost, in US dollars per million.

    `above`: the price holds for calls with more prompt tokens than this, and then for all their tokens.
    `cached_input` and `cache_write` None: such prompt tokens cost as any other. `output` None: the model
    has no price for output, as embeddings have none.
    """

    input: Decimal
    output: Decimal | None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    above: int = -1


def cost(prices: Sequence[Price], usage: Usage) -> Decimal | None:
    """Give what a call costs in US dollars; None where that cannot be told.

    `prices` are a model's steps, in the order of `above`; of those that hold, the last counts. It cannot be
    told without a price for what was used, nor from counts that contradict each other: more cached tokens
    than the prompt has.
    """
    price: Price | None = None
    for step in prices:
        if usage.prompt_tokens > step.above:
            price = step
    plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    made = usage.completion_tokens + usage.hidden_tokens
    if price is None or plain < 0 or (made and price.output is None):
        return None
    amounts = [(price.input, plain)]
    if usage.cached_tokens:
        rate = price.input if price.cached_input is None else price.cached_input
        amounts.append((rate, usage.cached_tokens))
    if usage.cache_write_tokens:
        rate = price.input if price.cache_write is None else price.cache_write
        amounts.append((rate, usage.cache_write_tokens))
    if price.output is not None:
        amounts.append((price.output, made))
    return charge(amounts)


def charge(amounts: Iterable[tuple[Decimal, int]]) -> Decimal:
    """Give in US dollars what so many tokens cost at each of these rates per million."""
    total = _NOTHING
    for rate, tokens in amounts:
        total = _EXACT.fma(rate, tokens, total)
    return _EXACT.normalize(_EXACT.scaleb(total, _MILLION))


def unpriced(
    *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
) -> Decimal | None:
    """Know no price: the port `Pricing` where nobody asks what a call costs."""
    del endpoint, asked, answered, usage, at
    return None
