"""The metrics of jobs: how they end, what they wait for, and where their answers come from."""

from itertools import product
from typing import Final

from producer_sdk.wire import Source
from worker.core.events import CalledUnrecorded, CallEnded, JobEnded, JobParked, RecordedLate
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job, Retry, State
from worker.telemetry.binding import Binder, Known, each

# From a free slot at once to a day in a bulk lane whose window is closed; a minute, and an hour, are bounds that
# people ask about.
_WAIT_S: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
# What it waited and what was worked on it: a call takes a second at least, so the steps below are fewer.
_JOB_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_LABELS: Final = ("tier", "lane")

_ROUTING: Final = "routing"


class JobMetrics:
    """Counts what becomes of jobs, by tier and lane."""

    def __init__(self, make: Binder, known: Known) -> None:
        lanes = known.lanes
        self._ended = make.counters(
            "jobs_total",
            "Runs that ended.",
            (*_LABELS, "state"),
            each(lanes, [state.value for state in State if state is not State.OPEN]),
        )
        self._failures = make.counters(
            "job_failures_total",
            "Runs that ended without a completion.",
            (*_LABELS, "kind"),
            each(lanes, Kind),
        )
        self._parked = make.counters(
            "parked_total",
            "Copies parked to wait.",
            (*_LABELS, "settlement"),
            each(lanes, ["retry", "snooze"]),
        )
        self._unrecorded = make.counters(
            "unrecorded_attempts_total",
            "Attempts begun without the ledger, while the store did not answer.",
            _LABELS,
            lanes,
        )
        self._late = make.counters(
            "late_records_total",
            "What was settled without the ledger: recorded since, or lost.",
            (*_LABELS, "end"),
            each(lanes, ["written", "lost"]),
        )
        self._answers = make.counters(
            "answers_total",
            "Completed runs, by where the answer came from.",
            ("tier", "source"),
            list(product(known.tiers, (source.value for source in Source))),
        )
        self._saved = make.counters(
            "saved_usd_total",
            "US dollars that answers without a call of their own would have cost, or that the choice by price saved, where that is known.",
            ("tier", "source"),
            list(product(known.tiers, [Source.SHARED.value, Source.CACHE.value, _ROUTING])),
        )
        self._wait_s = make.histograms(
            "job_wait_seconds",
            "Time of an ended run that it waited.",
            _LABELS,
            lanes,
            buckets=_WAIT_S,
        )
        self._in_all_s = make.histograms(
            "job_seconds", "Time of an ended run in all.", _LABELS, lanes, buckets=_JOB_S
        )

    def ended(self, event: JobEnded) -> None:
        """Count a run that ended."""
        record, lane = event.record, _lane(event.job)
        self._ended[(*lane, record.state)].inc()
        self._wait_s[lane].observe(record.waited.total_seconds())
        self._in_all_s[lane].observe(record.total.total_seconds())
        match record.outcome:
            case Failed(kind=kind):
                self._failures[(*lane, kind)].inc()
            case Completed(source=source, cost=cost):
                self._answers[event.job.tier, source].inc()
                if source is not Source.UPSTREAM and cost is not None:
                    self._saved[event.job.tier, source].inc(float(cost))
            case None:
                pass

    def routed(self, event: CallEnded) -> None:
        """Count what a call has cost less than it would have elsewhere."""
        if event.saved is not None:
            self._saved[event.tier, _ROUTING].inc(float(event.saved))

    def parked(self, event: JobParked) -> None:
        """Count a copy that waits."""
        settlement = "retry" if isinstance(event.parked.settlement, Retry) else "snooze"
        self._parked[(*_lane(event.job), settlement)].inc()

    def unrecorded(self, event: CalledUnrecorded | RecordedLate) -> None:
        """Count what was begun without the ledger, and what became of it."""
        match event:
            case CalledUnrecorded():
                self._unrecorded[_lane(event.job)].inc()
            case RecordedLate():
                end = "written" if event.written else "lost"
                self._late[(*_lane(event.job), end)].inc()


def _lane(job: Job) -> tuple[str, str]:
    return job.tier, job.lane
