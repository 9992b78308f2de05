"""The metrics of the upstream pool: holds, circuits, limits, and seats that were not to be had."""

import math
from collections.abc import Callable
from itertools import product
from typing import Final

from worker.core.circuit import State as CircuitState
from worker.core.events import (
    CircuitChanged,
    Counted,
    EndpointHeld,
    LimitSeen,
    SeatRefused,
)
from worker.core.seats import Obstacle
from worker.ports import Clock
from worker.telemetry.binding import Binder, Known, each
from worker.telemetry.series import OTHER

ANY: Final = "*"
"""The endpoint of a job that found no seat at any; no configured name can be this."""


class PoolMetrics:
    """Shows what is known of each endpoint now, and counts what it kept jobs from."""

    def __init__(self, make: Binder, known: Known, clock: Clock) -> None:
        self._clock = clock
        endpoints = [(name,) for name in known.endpoints]
        self._held_until = dict.fromkeys(known.endpoints, -math.inf)
        held = make.gauges(
            "endpoint_held", "1 while the endpoint takes no calls.", ("endpoint",), endpoints
        )
        for name in known.endpoints:
            held[(name,)].set_function(self._holding(name))
        self._circuit = make.gauges(
            "circuit_state",
            "1 for the state that the endpoint's circuit is in.",
            ("endpoint", "state"),
            each(endpoints, CircuitState),
        )
        for name in known.endpoints:
            self._circuit[name, CircuitState.CLOSED].set(1)
        self._opened = make.counters(
            "circuit_opened_total", "Times that the circuit opened.", ("endpoint",), endpoints
        )
        measured = list(product(known.endpoints, (what.value for what in Counted)))
        self._limit = make.gauges(
            "limit_per_minute",
            "What the endpoint's limit allows in a minute; NaN: not known.",
            ("endpoint", "what"),
            measured,
        )
        self._left = make.gauges(
            "limit_left",
            "What was left of the limit when that was last told; NaN: not known.",
            ("endpoint", "what"),
            measured,
        )
        for place in measured:
            self._limit[place].set(math.nan)
            self._left[place].set(math.nan)
        self._refused = make.counters(
            "seats_refused_total",
            "Times that a job found no seat at an endpoint, or (*) at none of its tier.",
            ("tier", "endpoint", "reason"),
            each([*known.routes, *((tier, ANY) for tier in known.tiers)], Obstacle),
        )

    def held(self, event: EndpointHeld) -> None:
        """Show the hold until its time is over."""
        known = event.endpoint in self._held_until
        until = self._clock.monotonic() + event.seconds
        self._held_until[event.endpoint if known else OTHER] = until

    def circuit(self, event: CircuitChanged) -> None:
        """Show the state that the circuit took."""
        for state in CircuitState:
            self._circuit[event.endpoint, state].set(float(state is event.state))
        if event.state is CircuitState.OPEN:
            self._opened[(event.endpoint,)].inc()

    def limit(self, event: LimitSeen) -> None:
        """Show what was told of the limit; what was not told stays."""
        place = event.endpoint, event.what
        if event.limit is not None:
            self._limit[place].set(event.limit)
        if event.left is not None:
            self._left[place].set(event.left)

    def refused(self, event: SeatRefused) -> None:
        """Count a job that found no seat."""
        endpoint = ANY if event.endpoint is None else event.endpoint
        self._refused[event.tier, endpoint, event.reason].inc()

    def _holding(self, endpoint: str) -> Callable[[], float]:
        return lambda: float(self._clock.monotonic() < self._held_until[endpoint])
