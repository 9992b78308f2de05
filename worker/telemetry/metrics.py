"""How events move the metrics, and the page that shows them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from prometheus_client import disable_created_metrics
from prometheus_client.exposition import choose_encoder

from producer_sdk.wire import Source
from worker.core.events import (
    CalledUnrecorded,
    CallEnded,
    EndpointHeld,
    Event,
    JobEnded,
    JobParked,
    LeaseRenewed,
    OfStore,
    OfTier,
    Quarantined,
    RecordedLate,
    StepReached,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.core.model import Completed, Failed, Job, Retry
from worker.ports import Clock
from worker.telemetry.catalogue import OK, Catalogue
from worker.telemetry.series import OTHER


class Metrics:
    """Moves the metrics of its catalogue. Told from one thread; `page` may be called from any.

    Label values come from the configuration and from enumerations. What they do not know counts as `other`,
    so the number of series is fixed from the start, whatever is told.
    """

    def __init__(self, tiers: Mapping[str, Sequence[str]], clock: Clock) -> None:
        """Bind every series. `tiers`: each tier with its endpoints."""
        # For the whole process: else each counter and histogram has a second series, its time of birth.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left its types out
        self._clock = clock
        self._all = Catalogue(tiers)
        self._held_until = dict.fromkeys(self._all.endpoints, -math.inf)
        for endpoint in self._all.endpoints:
            self._all.held[(endpoint,)].set_function(self._holding(endpoint))

    def watch_in_flight(self, tier: str, lane: str, count: Callable[[], float]) -> None:
        """Let `warren_in_flight` of the lane show what `count` says, asked at each scrape in its thread."""
        self._all.in_flight[tier, lane].set_function(count)

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
                self._call(event)
            case JobEnded():
                self._ended(event)
            case JobParked():
                settlement = "retry" if isinstance(event.parked.settlement, Retry) else "snooze"
                self._all.parked[(*_lane(event.job), settlement)].inc()
            case Quarantined():
                self._all.quarantined[(event.tier,)].inc()
            case EndpointHeld():
                known = event.endpoint in self._held_until
                until = self._clock.monotonic() + event.seconds
                self._held_until[event.endpoint if known else OTHER] = until
            case TierPaused() | TierResumed():
                self._tier(event)
            case StoreLost() | StoreBack() | CalledUnrecorded() | RecordedLate():
                self._store(event)
            case Trouble():
                self._all.troubles.inc()
            case _:
                assert_never(event)

    def _tier(self, event: OfTier) -> None:
        self._all.paused[event.tier, event.lane].set(
            float(isinstance(event, TierPaused) or event.paused)
        )
        self._all.pauses[event.tier, event.lane, event.cause].set(
            float(isinstance(event, TierPaused))
        )

    def _store(self, event: OfStore) -> None:
        match event:
            case StoreLost():
                self._all.store_up.set(0)
                self._all.outages.inc()
            case StoreBack():
                self._all.store_up.set(1)
            case CalledUnrecorded():
                self._all.unrecorded[_lane(event.job)].inc()
            case RecordedLate():
                end = "written" if event.written else "lost"
                self._all.late_records[(*_lane(event.job), end)].inc()

    def _call(self, event: CallEnded) -> None:
        kind = OK if event.kind is None else event.kind
        self._all.calls[event.tier, event.endpoint, kind].inc()
        self._all.call_s[event.tier, event.endpoint].observe(event.seconds)
        if event.cost is None:
            self._all.unpriced[event.tier, event.endpoint].inc()
        else:
            self._all.cost_usd[event.tier, event.endpoint].inc(float(event.cost))

    def _ended(self, event: JobEnded) -> None:
        record, lane = event.record, _lane(event.job)
        self._all.jobs[(*lane, record.state)].inc()
        self._all.job_wait_s[lane].observe(record.waited.total_seconds())
        self._all.job_s[lane].observe(record.total.total_seconds())
        match record.outcome:
            case Failed(kind=kind):
                self._all.failures[(*lane, kind)].inc()
            case Completed() as completed:
                self._completed(event.job.tier, completed)
            case None:
                pass

    def _completed(self, tier: str, completed: Completed) -> None:
        self._all.answers[tier, completed.source].inc()
        if completed.source is not Source.UPSTREAM:
            if completed.cost is not None:
                self._all.saved_usd[tier, completed.source].inc(float(completed.cost))
            return
        if (usage := completed.usage) is not None:
            self._all.tokens[tier, completed.endpoint, "prompt"].inc(max(0, usage.prompt_tokens))
            self._all.tokens[tier, completed.endpoint, "completion"].inc(
                max(0, usage.completion_tokens)
            )

    def _holding(self, endpoint: str) -> Callable[[], float]:
        return lambda: float(self._clock.monotonic() < self._held_until[endpoint])


def _lane(job: Job) -> tuple[str, str]:
    return job.tier, job.lane
