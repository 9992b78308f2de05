"""Counts of calls and connections since the start or the last reset."""

from collections import Counter, deque
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Final

from simulator.wire import How

_RECENT: Final = 1000
_SHARES: Final = {"p50": 0.5, "p99": 0.99}


@dataclass(slots=True, kw_only=True)
class Stats:
    """Running counts; `snapshot` gives them as JSON-ready values. Connections go by HTTP version.

    `seconds` is what the last thousand calls took that were answered with 200.
    """

    started: int = 0
    ended: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    closed_by_client: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    statuses: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    connections_open: Counter[str] = field(default_factory=Counter)
    connections_total: Counter[str] = field(default_factory=Counter)

    def call_started(self, model: str | None) -> None:
        """Count a call that was accepted."""
        self.started += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.models[model or "none"] += 1

    def call_ended(self, how: How, status: int | None, seconds: float = 0.0) -> None:
        """Count the end of a call that took `seconds`; one without a head counts under the status `none`."""
        self.ended += 1
        self.in_flight -= 1
        self.closed_by_client += how is How.CLIENT_CLOSED
        if status == HTTPStatus.OK:
            self.seconds.append(seconds)
        self.statuses["none" if status is None else str(status)] += 1

    def opened(self, http: str) -> None:
        """Count a connection once its protocol is known."""
        self.connections_open[http] += 1
        self.connections_total[http] += 1

    def lost(self, http: str) -> None:
        """Count a connection's end."""
        self.connections_open[http] -= 1

    def reset(self) -> None:
        """Start again at zero; what is open or in flight now stays counted."""
        self.started = self.max_in_flight = self.in_flight
        self.ended = self.closed_by_client = 0
        self.seconds.clear()
        self.statuses.clear()
        self.models.clear()
        self.connections_total = Counter(self.connections_open)

    def snapshot(self) -> dict[str, object]:
        """Give the counts; connections stand by HTTP version."""
        return {
            "started": self.started,
            "ended": self.ended,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "closed_by_client": self.closed_by_client,
            "seconds": self._quantiles(),
            "by_status": dict(self.statuses),
            "by_model": dict(self.models),
            "connections": {
                "open": dict(self.connections_open),
                "total": dict(self.connections_total),
            },
        }

    def _quantiles(self) -> dict[str, float | None]:
        """Give the least of the recent times that so large a share of them does not exceed; None: there are none."""
        ordered = sorted(self.seconds)
        return {
            name: ordered[ceil(share * len(ordered)) - 1] if ordered else None
            for name, share in _SHARES.items()
        }
