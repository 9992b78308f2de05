"""The log's listener: one line for each job that ended, and what an operator should know."""

from collections.abc import Callable

from worker.core.circuit import State as CircuitState
from worker.core.events import (
    CalledUnrecorded,
    CircuitChanged,
    EndpointHeld,
    Event,
    JobEnded,
    JobParked,
    LeaseRenewed,
    Quarantined,
    RecordedLate,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.core.model import Retry
from worker.ports import Clock
from worker.telemetry import lines
from worker.telemetry.fanout import Hears
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

    Steps, calls, seats and limits have no lines: several come for each job, and metrics count them.
    """

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self._sink = sink
        self._throttle = Throttle(clock)
        self.hears = self._hearing()

    def tell(self, event: Event) -> None:
        """Write the event's line, if it has one and its level is on."""
        hear = self.hears.get(type(event))
        if hear is not None:
            hear(event)

    def _hearing(self) -> Hears:
        return {
            JobEnded: self._ended,
            JobParked: self._parked,
            TierPaused: self._paused,
            TierResumed: self._resumed,
            StoreLost: self._store_lost,
            StoreBack: self._store_back,
            CalledUnrecorded: self._called_unrecorded,
            RecordedLate: self._recorded_late,
            EndpointHeld: self._held,
            CircuitChanged: self._circuit,
            Quarantined: self._quarantined,
            Trouble: self._trouble,
            LeaseRenewed: self._tell_left_out,
        }

    def _ended(self, event: JobEnded) -> None:
        self._sink.info("job", **lines.ended(event))

    def _parked(self, event: JobParked) -> None:
        retry = isinstance(event.parked.settlement, Retry)
        write = self._sink.info if retry else self._sink.debug
        write("parked", **lines.parked(event))

    def _paused(self, event: TierPaused) -> None:
        self._sink.info("paused", **lines.paused(event))

    def _resumed(self, event: TierResumed) -> None:
        self._sink.info("resumed", **lines.resumed(event))

    def _store_lost(self, event: StoreLost) -> None:
        self._sink.warning("store_lost", **lines.store_lost(event))

    def _store_back(self, event: StoreBack) -> None:
        self._sink.info("store_back", seconds=round(event.seconds, 3))

    def _called_unrecorded(self, event: CalledUnrecorded) -> None:
        self._sink.warning("called_unrecorded", **lines.of(event.job))

    def _recorded_late(self, event: RecordedLate) -> None:
        write = self._sink.info if event.written else self._sink.warning
        write("recorded_late", written=event.written, **lines.of(event.job))

    def _held(self, event: EndpointHeld) -> None:
        self._warn("held", lines.held(event), event.endpoint, event.kind.value)

    def _quarantined(self, event: Quarantined) -> None:
        self._warn("quarantined", lines.quarantined(event), event.tier, event.reason)

    def _trouble(self, event: Trouble) -> None:
        self._warn("trouble", lines.trouble(event), event.what, event.about)

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

    def _tell_left_out(self, _: LeaseRenewed) -> None:
        # The lease is renewed every few seconds: a clock tick that needs no timer.
        for (name, *about), count in self._throttle.sweep():
            self._sink.warning(
                "left_out", lines=name, about=[each[:100] for each in about], count=count
            )
