"""Every metric there is: name, meaning, labels, and the label values that have series of their own."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from producer_sdk.wire import Lane, Source
from worker.core.kinds import Kind
from worker.core.lanes import Cause
from worker.core.model import State
from worker.telemetry.series import OTHER, Series

OK: Final = "ok"

_Expected: TypeAlias = Sequence[tuple[str, ...]]

_CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_WAIT_S: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_JOB_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class Catalogue:
    """All series, bound, in a registry of their own. `tiers`: each tier with its endpoints.

    Their number depends on `tiers` alone: each label also has the value `other`, and nothing adds a series.
    """

    def __init__(self, tiers: Mapping[str, Sequence[str]]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.tiers = tuple(dict.fromkeys((*tiers, OTHER)))
        named = dict.fromkeys(each for endpoints in tiers.values() for each in endpoints)
        self.endpoints = tuple(dict.fromkeys((*named, OTHER)))
        self._lanes = [(tier, lane.value) for tier, lane in product(self.tiers, Lane)]
        self._routes = [
            (tier, each) for tier in self.tiers for each in (*tiers.get(tier, ()), OTHER)
        ]
        self._jobs()
        self._calls()
        self._states()

    def _jobs(self) -> None:
        ends = [state.value for state in State if state is not State.OPEN]
        lanes, labels = self._lanes, ("tier", "lane")
        self.jobs = self._counters(
            "jobs_total", "Runs that ended.", (*labels, "state"), _each(lanes, ends)
        )
        self.failures = self._counters(
            "job_failures_total",
            "Runs that ended without a completion.",
            (*labels, "kind"),
            _each(lanes, list(Kind)),
        )
        self.parked = self._counters(
            "parked_total",
            "Copies parked to wait.",
            (*labels, "settlement"),
            _each(lanes, ["retry", "snooze"]),
        )
        self.unrecorded = self._counters(
            "unrecorded_attempts_total",
            "Attempts begun without the ledger, while the store did not answer.",
            labels,
            lanes,
        )
        self.late_records = self._counters(
            "late_records_total",
            "What was settled without the ledger: recorded since, or lost.",
            (*labels, "end"),
            _each(lanes, ["written", "lost"]),
        )
        self.answers = self._counters(
            "answers_total",
            "Completed runs, by where the answer came from.",
            ("tier", "source"),
            list(product(self.tiers, (each.value for each in Source))),
        )
        self.job_wait_s = self._histograms(
            "job_wait_seconds", "Time of an ended run that it waited.", labels, _WAIT_S
        )
        self.job_s = self._histograms("job_seconds", "Time of an ended run in all.", labels, _JOB_S)

    def _calls(self) -> None:
        routes, labels = self._routes, ("tier", "endpoint")
        self.calls = self._counters(
            "calls_total",
            "HTTP calls that ended; kind ok: completed.",
            (*labels, "kind"),
            _each(routes, [OK, *Kind]),
        )
        self.call_s = self._histograms("call_seconds", "Time of an HTTP call.", labels, _CALL_S)
        self.tokens = self._counters(
            "tokens_total",
            "Tokens that the upstream counted; shared and cached answers add none.",
            (*labels, "type"),
            _each(routes, ["prompt", "completion"]),
        )
        self.cost_usd = self._counters(
            "cost_usd_total", "US dollars that calls cost, failed ones too.", labels, routes
        )
        self.saved_usd = self._counters(
            "saved_usd_total",
            "US dollars that calls would have cost which shared and cached answers made needless.",
            ("tier", "source"),
            list(product(self.tiers, (Source.SHARED.value, Source.CACHE.value))),
        )
        self.unpriced = self._counters(
            "unpriced_calls_total",
            "Calls that may have been charged for and have no known cost.",
            labels,
            routes,
        )

    def _states(self) -> None:
        each_tier = [(tier,) for tier in self.tiers]
        self.quarantined = self._counters(
            "quarantined_total", "Messages set aside unread.", ("tier",), each_tier
        )
        self.troubles = Counter(
            "warren_troubles_total",
            "Warnings that an operator should know; the log names them.",
            registry=self.registry,
        )
        self.held = self._gauges(
            "endpoint_held",
            "1 while the endpoint takes no calls.",
            ("endpoint",),
            [(each,) for each in self.endpoints],
        )
        self.paused = self._gauges(
            "paused", "1 while the consumer takes nothing.", ("tier", "lane"), self._lanes
        )
        self.pauses = self._gauges(
            "paused_for",
            "1 while the consumer takes nothing for this cause.",
            ("tier", "lane", "cause"),
            _each(self._lanes, list(Cause)),
        )
        self.store_up = Gauge(
            "warren_store_up", "1 while the store answers.", registry=self.registry
        )
        self.store_up.set(1)
        self.outages = Counter(
            "warren_store_outages_total", "Times that the store was lost.", registry=self.registry
        )
        self.in_flight = self._gauges(
            "in_flight", "Jobs that are being worked on.", ("tier", "lane"), self._lanes
        )

    def _counters(
        self, name: str, about: str, labels: Sequence[str], expected: _Expected
    ) -> Series[Counter]:
        metric = Counter(f"warren_{name}", about, labels, registry=self.registry)
        return Series(metric.labels, expected)

    def _gauges(
        self, name: str, about: str, labels: Sequence[str], expected: _Expected
    ) -> Series[Gauge]:
        metric = Gauge(f"warren_{name}", about, labels, registry=self.registry)
        return Series(metric.labels, expected)

    def _histograms(
        self, name: str, about: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Series[Histogram]:
        expected = self._lanes if "lane" in labels else self._routes
        metric = Histogram(f"warren_{name}", about, labels, registry=self.registry, buckets=buckets)
        return Series(metric.labels, expected)


def _each(pairs: _Expected, values: Sequence[str]) -> _Expected:
    return [(*pair, str(value)) for pair, value in product(pairs, values)]
