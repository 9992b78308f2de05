"""Metric children bound once at the start: fast to move, and bounded in number for any input."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import combinations
from typing import Final, Generic, TypeVar

OTHER: Final = "other"
# Models come from requests: whoever makes them up gets no room.
_MOST_KEPT: Final = 256
Child = TypeVar("Child")


class Series(Generic[Child]):
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
        self._children = {values: bind(*values) for values in wanted}
        self.fallback = lru_cache(maxsize=_MOST_KEPT)(self._fallback)

    def __getitem__(self, values: tuple[str, ...]) -> Child:
        child = self._children.get(values)
        return self.fallback(values) if child is None else child

    def _fallback(self, values: tuple[str, ...]) -> Child:
        places = range(len(values))
        for count in places:
            for unknown in combinations(places, count + 1):
                tried = tuple(OTHER if at in unknown else values[at] for at in places)
                if (child := self._children.get(tried)) is not None:
                    return child
        raise KeyError(values)
