"""Which event moves which metrics, and the page that shows them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from prometheus_client import disable_created_metrics
from prometheus_client.exposition import choose_encoder

from worker.core.events import (
    CalledUnrecorded,
    CallEnded,
    CircuitChanged,
    EndpointHeld,
    Event,
    JobEnded,
    JobParked,
    LimitSeen,
    Quarantined,
    RecordedLate,
    RetryDenied,
    SeatRefused,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.ports import Clock
from worker.telemetry.catalogue import Catalogue
from worker.telemetry.fanout import Hears

_NONE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


class Metrics:
    """Moves the metrics of its catalogue. Told from one thread; `page` may be called from any.

    Label values come from the configuration and from enumerations. What they do not know counts as `other`,
    so the number of series is fixed from the start, whatever is told.
    """

    def __init__(
        self,
        tiers: Mapping[str, Sequence[str]],
        clock: Clock,
        *,
        models: Mapping[str, Sequence[str]] = _NONE,
    ) -> None:
        """Bind every series. `tiers`: each tier with its endpoints; `models`: those an endpoint is configured for."""
        # For the whole process: else each counter and histogram has a second series, its time of birth.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left its types out
        self._all = Catalogue(tiers, models, clock)
        self.watch_ready = self._all.worker.watch_ready
        self.watch_in_flight = self._all.worker.watch_in_flight
        self.hears = self._hearing()

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """Give content type and text of all metrics, in the form that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._all.registry)

    def tell(self, event: Event) -> None:
        """Move what the event moves."""
        hear = self.hears.get(type(event))
        if hear is not None:
            hear(event)

    def _hearing(self) -> Hears:
        everything = self._all
        jobs, calls, pool, worker = (
            everything.jobs,
            everything.calls,
            everything.pool,
            everything.worker,
        )
        return {
            CallEnded: self._called,
            JobEnded: self._ended,
            JobParked: jobs.parked,
            EndpointHeld: pool.held,
            CircuitChanged: pool.circuit,
            LimitSeen: pool.limit,
            SeatRefused: pool.refused,
            RetryDenied: calls.denied,
            Quarantined: worker.quarantined,
            TierPaused: worker.tier,
            TierResumed: worker.tier,
            StoreLost: worker.store,
            StoreBack: worker.store,
            CalledUnrecorded: jobs.unrecorded,
            RecordedLate: jobs.unrecorded,
            Trouble: worker.trouble,
        }

    def _called(self, event: CallEnded) -> None:
        self._all.calls.ended(event)
        self._all.jobs.routed(event)

    def _ended(self, event: JobEnded) -> None:
        self._all.jobs.ended(event)
        self._all.calls.completed(event)
