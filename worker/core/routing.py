"""Which endpoint takes the next try, and how long one that refused is left alone."""

import math
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from worker.core.candidate import Candidate, Field
from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Failed

LONGEST_HOLD: Final = timedelta(minutes=5)
"""No endpoint is left alone for longer at a stretch: whatever it said may have changed since."""

_MOST_DOUBLINGS: Final = 30


class Policy(StrEnum):
    """How the endpoint of a try is chosen among those that take calls. Decision 16 has the figures."""

    EWMA = "ewma"
    PEAK_EWMA = "peak-ewma"
    BLEND = "blend"
    LEAST_LOAD = "least-load"
    CHEAPEST = "cheapest"


DEFAULT: Final = Policy.EWMA

MARGIN: Final = 1.25
"""Endpoints whose costs differ by less than this factor are equals: the weights decide."""

CLEARLY: Final = 2.0
"""One that is cheaper by less than this factor may be so by chance."""

BEST: Final = 3
"""Among so many of the best the policy `blend` throws its dice."""


def choose(
    candidates: Sequence[Candidate],
    *,
    policy: Policy,
    chance: Callable[[], float],
    turn: int = 0,
    avoid: Collection[str] = (),
) -> int | None:
    """Give the index of the endpoint that takes the next try; None: none takes any now.

    `chance` gives numbers in [0, 1). `avoid` names those that this attempt has tried: they are taken only if
    nothing else is left.

    * `ewma`: two endpoints are drawn by their weights, and the cheaper one of the pair is taken ("The Power of Two
      Choices in Randomized Load Balancing", Mitzenmacher, 2001). The cost is mean latency x load, with failures
      and the limit's room taken in.
    * `peak-ewma`: the same with the decaying peak for the mean, as Finagle and linkerd do it.
    * `blend`: load x 0.4 + latency x 0.6, each as a share of the highest; dice among the best three.
    * `least-load`: the fewest calls in flight per weight; between equals the configured order decides, beginning
      `turn` places further each time.
    * `cheapest`: as `ewma`, among those with the lowest price alone; an unknown price is higher than every other.
    """
    taking = [index for index, each in enumerate(candidates) if each.taking]
    others = [index for index in taking if candidates[index].name not in avoid] if avoid else taking
    ready = others or taking
    if policy is Policy.CHEAPEST:
        ready = _cheapest(candidates, ready)
    if len(ready) <= 1:
        return ready[0] if ready else None
    if policy is Policy.LEAST_LOAD:
        return _least_load(candidates, ready, turn)
    field = Field([candidates[index] for index in ready])
    pick = _of_best(field, chance) if policy is Policy.BLEND else _of_two(field, chance)
    return ready[pick]


def _least_load(candidates: Sequence[Candidate], ready: Sequence[int], turn: int) -> int:
    count = len(candidates)
    return min(
        ready,
        key=lambda index: (
            candidates[index].in_flight / candidates[index].weight,
            (index - turn) % count,
        ),
    )


def _cheapest(candidates: Sequence[Candidate], ready: Sequence[int]) -> list[int]:
    prices = [candidates[index].price for index in ready]
    lowest = min((price for price in prices if price is not None), default=None)
    return [index for index, price in zip(ready, prices, strict=True) if price == lowest]


def _of_two(field: Field, chance: Callable[[], float]) -> int:
    """Let the cheaper one of two have the call.

    Who is drawn first by weight has the call by weight, unless the second one takes it. What is only a little cheaper
    may be so by chance, and if chance decided each pair, the light endpoints would get more than their weights say. So
    it takes the call with odds under which each pair exchanges as many calls one way as the other: the pair is drawn
    with w_i / W * w_j / (W - w_i), and the odds are (W - w_i) / (W - w_j), at most 1 (detailed balance, as in
    Metropolis's algorithm).
    """
    weights = [each.weight for each in field.ready]
    total = math.fsum(weights)
    first = _drawn(weights, chance())
    others, weights[first] = total - weights[first], 0.0
    second = _drawn(weights, chance())
    ratio = field.cost(second) / field.cost(first)
    if ratio * MARGIN >= 1:
        return first
    return second if ratio * CLEARLY < 1 or chance() < others / (total - weights[second]) else first


def _of_best(field: Field, chance: Callable[[], float]) -> int:
    goods = field.goods()
    best = sorted(range(len(goods)), key=goods.__getitem__, reverse=True)[:BEST]
    return best[_drawn([goods[index] * field.ready[index].weight for index in best], chance())]


def _drawn(weights: Sequence[float], chance: float) -> int:
    """Give an index, each as often as its weight says; never one whose weight is 0 while another's is not."""
    left = chance * math.fsum(weights)
    last = 0
    for index, weight in enumerate(weights):
        if weight > 0:
            last = index
            if left < weight:
                return index
            left -= weight
    return last


def hold_time(failed: Failed, *, in_a_row: int, recheck: timedelta) -> timedelta | None:
    """Give how long the endpoint takes no calls after this failure; None: it is not held.

    A rate limit holds it for what it asked for, and not at all if it did not ask: then only this job
    waits. A refused key or an empty account holds it for `recheck`, doubled for each time `in_a_row` that
    a new look found it unmended. Never longer than `LONGEST_HOLD`.
    """
    asked = failed.retry_after or timedelta()
    if failed.kind is Kind.RATE_LIMITED:
        return min(asked, LONGEST_HOLD) if asked else None
    if RULES[failed.kind].cure is not Cure.OPERATOR:
        return None
    doubled_s = recheck.total_seconds() * 2.0 ** min(in_a_row, _MOST_DOUBLINGS)
    longest_s = LONGEST_HOLD.total_seconds()
    return timedelta(seconds=min(max(doubled_s, asked.total_seconds()), longest_s))
