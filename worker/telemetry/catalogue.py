"""Every metric there is, in a registry of its own."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector

from worker.ports import Clock
from worker.telemetry.binding import Binder, Known
from worker.telemetry.call_metrics import CallMetrics
from worker.telemetry.job_metrics import JobMetrics
from worker.telemetry.pool_metrics import PoolMetrics
from worker.telemetry.worker_metrics import WorkerMetrics


class Catalogue:
    """All series, bound. `tiers`: each tier with its endpoints; `models`: the models that an endpoint is configured for.

    Their number depends on these alone: each label also has the value `other`, and nothing adds a series. A test
    counts them for a large configuration.
    """

    def __init__(
        self,
        tiers: Mapping[str, Sequence[str]],
        models: Mapping[str, Sequence[str]],
        clock: Clock,
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        make, known = Binder(self.registry), Known(tiers, models)
        self.jobs = JobMetrics(make, known)
        self.calls = CallMetrics(make, known)
        self.pool = PoolMetrics(make, known, clock)
        self.worker = WorkerMetrics(make, known)
