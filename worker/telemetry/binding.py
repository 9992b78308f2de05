"""Makes metrics, bound to the label values that the configuration and our enumerations know."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, product
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from producer_sdk.wire import Lane
from worker.telemetry.series import OTHER, Count, Distribution, Series

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
    ) -> Series[Count]:
        """Make a counter with a series for each of `expected`, and `other` ones."""
        series = Series(lambda *_: Count(), expected)
        family = partial(CounterMetricFamily, _PREFIX + name, about, labels=labels)
        self.registry.register(_Counters(series, family))
        return series

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
    ) -> Series[Distribution]:
        """Make a histogram with these upper bounds, in a series for each of `expected`, and `other` ones."""
        bounds = tuple(buckets)
        series = Series(lambda *_: Distribution(bounds), expected)
        family = partial(HistogramMetricFamily, _PREFIX + name, about, labels=labels)
        self.registry.register(_Histograms(series, bounds, family))
        return series

    def counter(self, name: str, about: str) -> Counter:
        """Make a counter that is one series."""
        return Counter(_PREFIX + name, about, registry=self.registry)

    def gauge(self, name: str, about: str) -> Gauge:
        """Make a gauge that is one series."""
        return Gauge(_PREFIX + name, about, registry=self.registry)


class _Counters(Collector):
    """Shows a counter's series. The library's own children cost several times as much to move, which each job does often."""

    def __init__(self, series: Series[Count], empty: Callable[[], CounterMetricFamily]) -> None:
        self._series = series
        self._empty = empty

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = self._empty()
        for values, child in self._series.items():
            family.add_metric(values, child.value)
        yield family


class _Histograms(Collector):
    """Shows a histogram's series; see `_Counters`."""

    def __init__(
        self,
        series: Series[Distribution],
        bounds: Sequence[float],
        empty: Callable[[], HistogramMetricFamily],
    ) -> None:
        self._series = series
        self._bounds = [*map(floatToGoString, bounds), "+Inf"]
        self._empty = empty

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = self._empty()
        for values, child in self._series.items():
            buckets = list(zip(self._bounds, accumulate(child.counts), strict=True))
            family.add_metric(values, buckets, child.sum)
        yield family


def each(places: Values, values: Iterable[str]) -> Values:
    """Give every place with every value: `other` among neither is added."""
    return [(*place, str(value)) for place, value in product(places, list(values))]
