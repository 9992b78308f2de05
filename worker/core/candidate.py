"""An endpoint as the choice sees it, and what a call to it is reckoned to cost among the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.core.latency import Observed

LOAD_UNIT: Final = 4.0
"""So many calls in flight per weight make an endpoint twice as dear. 1, as in Finagle, lets a single call speak
against the weights where few are in flight, and for an endpoint that is ten times slower where many are."""

SILENCE_S: Final = 20.0
"""What was seen of an endpoint has lost 1 - 1/e of its weight when nothing was heard of it for so long."""

ERROR_POWER: Final = 4
"""A share e of failures makes an endpoint as dear as 1 / (1 - e) to this power. 1 would be the mean number of
tries; but calls that fail fast are not in flight for long, so the load speaks for the endpoint that fails."""

COLD_LOAD: Final = 3.0
"""Each call in flight to an endpoint of which nothing is known counts so often: a few calls go first."""

ROOM: Final = 0.2
"""An endpoint with less of its limit left than this is taken more and more seldom."""

_LOAD_SHARE, _LATENCY_SHARE = 0.4, 0.6
_LEAST_ROOM = 0.01
_LEAST_SOUND = 0.01
_LEAST_SCORE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An endpoint as the choice sees it; `of` makes it from what was observed.

    `weight` is above zero: twice the weight, twice the calls. `latency_s` is None until a call has completed, and
    `at_least_s` is what is known instead. `error_rate` is in [0, 1]. `silent_s`: for how long nothing was heard
    of it and nothing asked. `room`: the share of its limit that is left; 1: no limit is known. `taking`: not held,
    its circuit lets the call pass, and permits may be had. `price`: what a typical call costs; None: not known.
    """

    name: str
    weight: float = 1.0
    in_flight: int = 0
    latency_s: float | None = None
    at_least_s: float = 0.0
    error_rate: float = 0.0
    silent_s: float = 0.0
    room: float = 1.0
    price: float | None = None
    taking: bool = True

    @classmethod
    def of(
        cls,
        observed: Observed,
        *,
        peak: bool,
        now: float,
        name: str,
        weight: float,
        in_flight: int,
        room: float = 1.0,
        price: float | None = None,
        taking: bool = True,
    ) -> "Candidate":
        """Give what is seen of an endpoint at an instant of the monotonic clock; `peak`: its peaks, not its mean."""
        return cls(
            name=name,
            weight=weight,
            in_flight=in_flight,
            latency_s=observed.peak_s if peak else observed.latency_s,
            at_least_s=max(observed.at_least_s, observed.waited_s(now)),
            error_rate=observed.error_rate,
            silent_s=observed.silent_s(now),
            room=room,
            price=price,
            taking=taking,
        )


class Field:
    """The endpoints between which the choice is, at least two, and what they have in common."""

    def __init__(self, ready: Sequence[Candidate]) -> None:
        self.ready = ready
        self._weight = math.fsum(each.weight for each in ready) / len(ready)
        known = [each.latency_s for each in ready if each.latency_s is not None]
        self._best_s = max(min(known, default=1.0), 1e-6)

    def latency_s(self, index: int) -> float:
        """Give the latency to reckon with.

        One of which nothing is known may be as good as the best. So may one that is silent for long, whatever it was
        before: it gets a call, and with that it is not silent any more.
        """
        each = self.ready[index]
        known_s = max(self._best_s if each.latency_s is None else each.latency_s, each.at_least_s)
        return self._best_s + (known_s - self._best_s) * math.exp(-each.silent_s / SILENCE_S)

    def load(self, index: int) -> float:
        """Give the calls in flight per weight, where a weight of 1 is the mean of the field."""
        each = self.ready[index]
        counts = COLD_LOAD if each.latency_s is None else 1.0
        return each.in_flight * counts * self._weight / each.weight

    def sound(self, index: int) -> float:
        """Give in (0, 1] how far its failures and its limit let an endpoint be counted on."""
        each = self.ready[index]
        failing = each.error_rate * math.exp(-each.silent_s / SILENCE_S)
        return max((1 - failing) ** ERROR_POWER, _LEAST_SOUND) * min(
            max(each.room, _LEAST_ROOM) / ROOM, 1.0
        )

    def cost(self, index: int) -> float:
        """Give latency x (1 + load), dearer for failures and for a limit that is nearly used up."""
        return self.latency_s(index) * (1 + self.load(index) / LOAD_UNIT) / self.sound(index)

    def goods(self) -> list[float]:
        """Give for each endpoint a number above 0, higher for a better one.

        That is 1 / (0.4 x load + 0.6 x latency), each as a share of the highest in the field, times how sound it is.
        """
        indexes = range(len(self.ready))
        loads = [self.load(index) for index in indexes]
        latencies = [self.latency_s(index) for index in indexes]
        most, longest = max(loads) or 1.0, max(latencies)
        scores = (
            _LOAD_SHARE * load / most + _LATENCY_SHARE * latency / longest
            for load, latency in zip(loads, latencies, strict=True)
        )
        return [self.sound(i) / max(score, _LEAST_SCORE) for i, score in enumerate(scores)]
