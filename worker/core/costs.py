"""What a call costs: usage times price, exact to the last digit. Money is `Decimal`, never `float`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from worker.core.ceiling import Ceiling
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
    more = _NOTHING
    for rate, tokens in (
        (price.cached_input, usage.cached_tokens),
        (price.cache_write, usage.cache_write_tokens),
    ):
        if tokens:
            more = _EXACT.fma(price.input if rate is None else rate, tokens, more)
    return charge(price.input, plain, price.output, made, more=more)


def highest_cost(prices: Sequence[Price], bounds: Ceiling) -> Decimal | None:
    """Give the most that a call within the bounds costs at these prices, in US dollars; None: not known.

    Prompt tokens are taken at the dearest of their rates, and steps in the price for every length up to the bound: a
    long prompt may be cheaper for each token than a short one, and the real prompt is shorter than its bytes.
    """
    highest: Decimal | None = None
    for price in prices:
        if 0 <= price.above >= bounds.prompt_tokens:
            continue
        if (at_most := _at(price, bounds)) is None:
            return None
        highest = at_most if highest is None else max(highest, at_most)
    return highest


def _at(price: Price, bounds: Ceiling) -> Decimal | None:
    dearest, output = price.input, price.output
    for rate in (price.cached_input, price.cache_write):
        if rate is not None and rate > dearest:
            dearest = rate
    if output is None and bounds.output_tokens:
        return None
    return charge(dearest, bounds.prompt_tokens, output, bounds.output_tokens)


def charge(
    rate: Decimal, prompt: int, output: Decimal | None, made: int, *, more: Decimal = _NOTHING
) -> Decimal:
    """Give in US dollars what so many tokens cost at these rates per million, and `more`, which is in millionths too."""
    total = _EXACT.fma(rate, prompt, more)
    if made and output is not None:
        total = _EXACT.fma(output, made, total)
    return _EXACT.normalize(_EXACT.scaleb(total, _MILLION))


def unpriced(
    *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
) -> Decimal | None:
    """Know no price: the port `Pricing` where nobody asks what a call costs."""
    del endpoint, asked, answered, usage, at
    return None
