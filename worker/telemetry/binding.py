"""Makes metrics, bound to the label values that the configuration and our enumerations know."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from producer_sdk.wire import Lane
from worker.telemetry.series import OTHER, Series

Values: TypeAlias = Sequence[tuple[str, ...]]

_PREFIX: Final = "warren_"


class Known:
    """The places that have series of their own. `tiers`: each with its endpoints; `models`: each endpoint's aliases.

    A model is known by the name that jobs ask for, at the endpoints that the configuration names it for.
    """

    def __init__(
        self, tiers: Mapping[str, Sequence[str]], models: Mapping[str, Sequence[str]]
    ) -> None:
        named = dict.fromkeys(each for endpoints in tiers.values() for each in endpoints)
        self.tiers = tuple(dict.fromkeys((*tiers, OTHER)))
        self.endpoints = tuple(dict.fromkeys((*named, OTHER)))
        self.lanes: Values = [(tier, lane.value) for tier, lane in product(self.tiers, Lane)]
        self.routes: Values = [
            (tier, each) for tier in self.tiers for each in (*tiers.get(tier, ()), OTHER)
        ]
        self.models: Values = [
            (*route, model) for route in self.routes for model in (*models.get(route[1], ()), OTHER)
        ]


class Binder:
    """Makes metrics in its registry; names get the prefix `warren_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def counters(
        self, name: str, about: str, labels: Sequence[str], expected: Values
    ) -> Series[Counter]:
        """Make a counter with a series for each of `expected`, and `other` ones."""
        metric = Counter(_PREFIX + name, about, labels, registry=self.registry)
        return Series(metric.labels, expected)

    def gauges(
        self, name: str, about: str, labels: Sequence[str], expected: Values
    ) -> Series[Gauge]:
        """Make a gauge with a series for each of `expected`, and `other` ones."""
        metric = Gauge(_PREFIX + name, about, labels, registry=self.registry)
        return Series(metric.labels, expected)

    def histograms(
        self,
        name: str,
        about: str,
        labels: Sequence[str],
        expected: Values,
        *,
        buckets: Sequence[float],
    ) -> Series[Histogram]:
        """Make a histogram with these upper bounds, in a series for each of `expected`, and `other` ones."""
        metric = Histogram(_PREFIX + name, about, labels, registry=self.registry, buckets=buckets)
        return Series(metric.labels, expected)

    def counter(self, name: str, about: str) -> Counter:
        """Make a counter that is one series."""
        return Counter(_PREFIX + name, about, registry=self.registry)

    def gauge(self, name: str, about: str) -> Gauge:
        """Make a gauge that is one series."""
        return Gauge(_PREFIX + name, about, registry=self.registry)


def each(places: Values, values: Iterable[str]) -> Values:
    """Give every place with every value: `other` among neither is added."""
    return [(*place, str(value)) for place, value in product(places, list(values))]
