"""What metrics count, bound once at the start: fast to move, and bounded in number for any input."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Final, TypeVar

OTHER: Final = "other"
# Models come from requests: whoever makes them up gets no room.
_MOST_KEPT: Final = 256
Child = TypeVar("Child")


class Count:
    """A sum that only grows. Moved by one thread, so that it needs no lock; read by any."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount


class Distribution:
    """How many values fell under each of the upper bounds, and their sum. As `Count`, moved by one thread."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Series(dict[tuple[str, ...], Child]):
    """The children of one metric, by label values.

    `expected`: the label values that have a child of their own. A value that nobody expects is `other`, and
    as few others with it as possible: `("premium", "unheard-of")` finds `("premium", "other")`. What was found for the
    latest of them is kept: most models are those that no endpoint names.
    """

    def __init__(self, bind: Callable[..., Child], expected: Iterable[tuple[str, ...]]) -> None:
        wanted: dict[tuple[str, ...], None] = {}
        for values in expected:
            for kept in range(len(values) + 1):
                wanted[values[:kept] + (OTHER,) * (len(values) - kept)] = None
        super().__init__((values, bind(*values)) for values in wanted)
        self.fallback = lru_cache(maxsize=_MOST_KEPT)(self._fallback)

    def __missing__(self, values: tuple[str, ...]) -> Child:
        return self.fallback(values)

    def _fallback(self, values: tuple[str, ...]) -> Child:
        places = range(len(values))
        for count in places:
            for unknown in combinations(places, count + 1):
                tried = tuple(OTHER if at in unknown else values[at] for at in places)
                if (child := self.get(tried)) is not None:
                    return child
        raise KeyError(values)
