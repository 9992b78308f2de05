"""The metrics of the worker itself: whether it is ready, what it holds, its consumers and its store."""

from collections.abc import Callable

from worker.core.events import OfTier, Quarantined, StoreBack, StoreLost, TierPaused, Trouble
from worker.core.lanes import Cause
from worker.telemetry.binding import Binder, Known, each


class WorkerMetrics:
    """Shows the worker's state, and counts what an operator should look into."""

    def __init__(self, make: Binder, known: Known) -> None:
        lanes, labels = known.lanes, ("tier", "lane")
        self._ready = make.gauge("ready", "1 while the worker takes jobs, as /readyz says.")
        self._in_flight = make.gauges("in_flight", "Jobs that are being worked on.", labels, lanes)
        self._paused = make.gauges("paused", "1 while the consumer takes nothing.", labels, lanes)
        self._pauses = make.gauges(
            "paused_for",
            "1 while the consumer takes nothing for this cause.",
            (*labels, "cause"),
            each(lanes, Cause),
        )
        self._store_up = make.gauge("store_up", "1 while the store answers.")
        self._store_up.set(1)
        self._outages = make.counter("store_outages_total", "Times that the store was lost.")
        self._quarantined = make.counters(
            "quarantined_total",
            "Messages set aside unread.",
            ("tier",),
            [(tier,) for tier in known.tiers],
        )
        self._troubles = make.counter(
            "troubles_total", "Warnings that an operator should know; the log names them."
        )

    def watch_ready(self, is_ready: Callable[[], bool]) -> None:
        """Show what `is_ready` says, asked at each scrape in its thread."""
        self._ready.set_function(lambda: float(is_ready()))

    def watch_in_flight(self, tier: str, lane: str, count: Callable[[], float]) -> None:
        """Show what `count` says of the lane, asked at each scrape in its thread."""
        self._in_flight[tier, lane].set_function(count)

    def tier(self, event: OfTier) -> None:
        """Show whether the lane's consumer takes anything, and why not."""
        paused = isinstance(event, TierPaused)
        self._paused[event.tier, event.lane].set(
            float(isinstance(event, TierPaused) or event.paused)
        )
        self._pauses[event.tier, event.lane, event.cause].set(float(paused))

    def store(self, event: StoreLost | StoreBack) -> None:
        """Show whether the store answers."""
        lost = isinstance(event, StoreLost)
        self._store_up.set(float(not lost))
        if lost:
            self._outages.inc()

    def quarantined(self, event: Quarantined) -> None:
        """Count a message that was set aside."""
        self._quarantined[(event.tier,)].inc()

    def trouble(self, _: Trouble) -> None:
        """Count a warning."""
        self._troubles.inc()
