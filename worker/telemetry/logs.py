"""The log's listener: one line for each job that ended, and what an operator should know."""

from collections.abc import Callable
from typing import assert_never

from worker.core.events import (
    CalledUnrecorded,
    CallEnded,
    CircuitChanged,
    CircuitState,
    EndpointHeld,
    Event,
    JobEnded,
    JobParked,
    LeaseRenewed,
    LimitSeen,
    OfPool,
    OfStore,
    OfTier,
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
from worker.core.model import Retry
from worker.ports import Clock
from worker.telemetry import lines
from worker.telemetry.sink import Sink
from worker.telemetry.throttle import Throttle


class Logs:
    """Writes lines for events. Told from one thread only, as the line does.

    | event | level | throttled |
    | --- | --- | --- |
    | `job`: a run ended | info | no: it is the one line for each job |
    | `parked`: a copy waits; a retry, a snooze | info, debug | no: the waits bound it |
    | `paused`, `resumed`: a consumer | info | no |
    | `called_unrecorded`; `recorded_late` | warning; info, warning | no: each may have to be looked into |
    | `store_lost`, `store_back` | warning, info | no: at most one each second |
    | `circuit`: an endpoint's opens, closes; lets a probe through | warning, info; debug | yes, alike lines |
    | `held`: an endpoint; `quarantined`: a message; `trouble` | warning | yes, alike lines |
    """

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self._sink = sink
        self._throttle = Throttle(clock)

    def tell(self, event: Event) -> None:
        """Write the event's line, if it has one and its level is on."""
        match event:
            case StepReached() | CallEnded():
                pass  # several for each job: metrics count calls, fault tests follow steps
            case JobEnded():
                self._sink.info("job", **lines.ended(event))
            case JobParked():
                retry = isinstance(event.parked.settlement, Retry)
                write = self._sink.info if retry else self._sink.debug
                write("parked", **lines.parked(event))
            case TierPaused() | TierResumed():
                self._tier(event)
            case StoreLost() | StoreBack() | CalledUnrecorded() | RecordedLate():
                self._store(event)
            case EndpointHeld() | CircuitChanged() | LimitSeen() | SeatRefused() | RetryDenied():
                self._pool(event)
            case Quarantined():
                self._warn("quarantined", lines.quarantined(event), event.tier, event.reason)
            case Trouble():
                self._warn("trouble", lines.trouble(event), event.what, event.about)
            case LeaseRenewed():
                self._tell_left_out()
            case _:
                assert_never(event)

    def _tier(self, event: OfTier) -> None:
        if isinstance(event, TierPaused):
            self._sink.info("paused", **lines.paused(event))
        else:
            self._sink.info("resumed", **lines.resumed(event))

    def _store(self, event: OfStore) -> None:
        match event:
            case StoreLost():
                self._sink.warning("store_lost", **lines.store_lost(event))
            case StoreBack():
                self._sink.info("store_back", seconds=round(event.seconds, 3))
            case CalledUnrecorded():
                self._sink.warning("called_unrecorded", **lines.of(event.job))
            case RecordedLate():
                write = self._sink.info if event.written else self._sink.warning
                write("recorded_late", written=event.written, **lines.of(event.job))

    def _pool(self, event: OfPool) -> None:
        match event:
            case EndpointHeld():
                self._warn("held", lines.held(event), event.endpoint, event.kind.value)
            case CircuitChanged():
                self._circuit(event)
            case LimitSeen() | SeatRefused() | RetryDenied():
                pass  # several for each job under load: metrics count them

    def _circuit(self, event: CircuitChanged) -> None:
        write = {
            CircuitState.OPEN: self._sink.warning,
            CircuitState.CLOSED: self._sink.info,
            CircuitState.HALF_OPEN: self._sink.debug,
        }[event.state]
        self._throttled(write, "circuit", lines.circuit(event), event.endpoint, event.state.value)

    def _warn(self, name: str, line: lines.Line, *key: str) -> None:
        self._throttled(self._sink.warning, name, line, *key)

    def _throttled(
        self, write: Callable[..., object], name: str, line: lines.Line, *key: str
    ) -> None:
        left_out = self._throttle.take(name, *key)
        if left_out is None:
            return
        if left_out:
            line["left_out"] = left_out
        write(name, **line)

    def _tell_left_out(self) -> None:
        # The lease is renewed every few seconds: a clock tick that needs no timer.
        for (name, *about), count in self._throttle.sweep():
            self._sink.warning(
                "left_out", lines=name, about=[each[:100] for each in about], count=count
            )
