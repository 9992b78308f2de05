"""Which event moves which metrics, and the page that shows them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, assert_never

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
    LeaseRenewed,
    LimitSeen,
    OfPool,
    OfStore,
    Quarantined,
    RecordedLate,
    RetryDenied,
    SeatRefused,
    StepReached,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.ports import Clock
from worker.telemetry.catalogue import Catalogue

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

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """Give content type and text of all metrics, in the form that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._all.registry)

    def tell(self, event: Event) -> None:
        """Move what the event moves."""
        match event:
            case StepReached() | LeaseRenewed():
                pass
            case CallEnded():
                self._all.calls.ended(event)
                self._all.jobs.routed(event)
            case JobEnded():
                self._all.jobs.ended(event)
                self._all.calls.completed(event)
            case JobParked():
                self._all.jobs.parked(event)
            case EndpointHeld() | CircuitChanged() | LimitSeen() | SeatRefused() | RetryDenied():
                self._pool(event)
            case Quarantined():
                self._all.worker.quarantined(event)
            case TierPaused() | TierResumed():
                self._all.worker.tier(event)
            case StoreLost() | StoreBack() | CalledUnrecorded() | RecordedLate():
                self._store(event)
            case Trouble():
                self._all.worker.trouble()
            case _:
                assert_never(event)

    def _pool(self, event: OfPool) -> None:
        match event:
            case EndpointHeld():
                self._all.pool.held(event)
            case CircuitChanged():
                self._all.pool.circuit(event)
            case LimitSeen():
                self._all.pool.limit(event)
            case SeatRefused():
                self._all.pool.refused(event)
            case RetryDenied():
                self._all.calls.denied(event)

    def _store(self, event: OfStore) -> None:
        match event:
            case StoreLost() | StoreBack():
                self._all.worker.store(event)
            case CalledUnrecorded() | RecordedLate():
                self._all.jobs.unrecorded(event)
