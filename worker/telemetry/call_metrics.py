"""The metrics of calls: how they end, how long they take, and what their tokens cost."""

from functools import lru_cache
from typing import Final, NamedTuple

from producer_sdk.wire import Source
from worker.core.events import CallEnded, JobEnded, RetryDenied
from worker.core.kinds import Kind
from worker.core.model import Completed
from worker.telemetry.binding import Binder, Known, each
from worker.telemetry.series import Count, Distribution

OK: Final = "ok"
# Models come from requests: whoever makes them up gets no room.
_MOST_KEPT: Final = 256

# From a refusal, which takes a round trip, to a reasoning model's ten minutes; steps of about two, so that a quantile
# that is read from them is wrong by less than half. The same for the head of an answer as for the whole: without
# streaming most APIs send it when the answer is complete, and what lies between the two shows as a shift.
_CALL_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
_ROUTE: Final = ("tier", "endpoint")
_MODEL: Final = (*_ROUTE, "model")

# How a job may end, but no call.
_JOBS_OWN: Final = frozenset(
    {
        Kind.EXPIRED,
        Kind.BUDGET_EXCEEDED,
        Kind.ATTEMPTS_EXHAUSTED,
        Kind.REFUSALS_EXHAUSTED,
        Kind.IDEMPOTENCY_CONFLICT,
        Kind.RESULT_EXPIRED,
        Kind.UNKNOWN_JOB,
        Kind.NOT_ENDED,
    }
)


class _Place(NamedTuple):
    """What the completed calls of one model at one endpoint move, found once."""

    ok: Count
    call_s: Distribution
    first_byte_s: Distribution
    cost_usd: Count
    prompt: Count
    completion: Count
    cached: Count


class CallMetrics:
    """Counts calls by tier and endpoint; what depends on the model also by the model that was asked for."""

    def __init__(self, make: Binder, known: Known) -> None:
        self._calls = make.counters(
            "calls_total",
            "HTTP calls that ended; kind ok: completed.",
            (*_ROUTE, "kind"),
            each(known.routes, [OK, *(kind for kind in Kind if kind not in _JOBS_OWN)]),
        )
        self._extra = make.counters(
            "extra_calls_total",
            "HTTP calls beyond the first of an attempt: it failed, or it was slow and the tier hedges.",
            (*_ROUTE, "why"),
            each(known.routes, ["retry", "hedge"]),
        )
        self._denied = make.counters(
            "retries_denied_total",
            "Failed calls that were not repeated at once, since the retries' budget was used.",
            _ROUTE,
            known.routes,
        )
        self._call_s = make.histograms(
            "call_seconds", "Time of an HTTP call.", _MODEL, known.models, buckets=_CALL_S
        )
        self._first_byte_s = make.histograms(
            "first_byte_seconds",
            "Time of an HTTP call until the head of its answer was there.",
            _MODEL,
            known.models,
            buckets=_CALL_S,
        )
        self._tokens = make.counters(
            "tokens_total",
            "Tokens that the upstream counted; shared and cached answers add none.",
            (*_MODEL, "type"),
            each(known.models, ["prompt", "completion"]),
        )
        self._cached = make.counters(
            "cached_tokens_total",
            "Of the prompt tokens, those that the upstream's own cache gave.",
            _MODEL,
            known.models,
        )
        self._cost_usd = make.counters(
            "cost_usd_total",
            "US dollars that calls cost, failed ones too.",
            _MODEL,
            known.models,
        )
        self._unpriced = make.counters(
            "unpriced_calls_total",
            "Calls that completed and have no known cost.",
            _MODEL,
            known.models,
        )
        self._uncertain = make.counters(
            "uncertain_calls_total",
            "Calls that came to nothing and may have been charged for all the same.",
            _ROUTE,
            known.routes,
        )
        self._place = lru_cache(maxsize=_MOST_KEPT)(self._found)

    def _found(self, tier: str, endpoint: str, model: str) -> _Place:
        place = tier, endpoint, model
        return _Place(
            ok=self._calls[tier, endpoint, OK],
            call_s=self._call_s[place],
            first_byte_s=self._first_byte_s[place],
            cost_usd=self._cost_usd[place],
            prompt=self._tokens[(*place, "prompt")],
            completion=self._tokens[(*place, "completion")],
            cached=self._cached[place],
        )

    def ended(self, event: CallEnded) -> None:
        """Count a call that ended."""
        route, place = (event.tier, event.endpoint), (event.tier, event.endpoint, event.model)
        moved = self._place(*place)
        (moved.ok if event.kind is None else self._calls[(*route, event.kind)]).inc()
        moved.call_s.observe(event.seconds)
        if event.first_byte_s is not None:
            moved.first_byte_s.observe(event.first_byte_s)
        if event.retry:
            self._extra[(*route, "retry")].inc()
        if event.hedge:
            self._extra[(*route, "hedge")].inc()
        if event.cost is not None:
            moved.cost_usd.inc(float(event.cost))
        elif event.kind is None:
            self._unpriced[place].inc()
        else:
            self._uncertain[route].inc()

    def denied(self, event: RetryDenied) -> None:
        """Count a try that the retries' budget did not allow."""
        self._denied[event.tier, event.endpoint].inc()

    def completed(self, event: JobEnded) -> None:
        """Count what the run's own call used; nothing if it made none."""
        completed = event.record.outcome
        if not isinstance(completed, Completed) or completed.source is not Source.UPSTREAM:
            return
        if (usage := completed.usage) is not None:
            moved = self._place(event.job.tier, completed.endpoint, event.job.model)
            moved.prompt.inc(max(0, usage.prompt_tokens))
            moved.completion.inc(max(0, usage.completion_tokens))
            moved.cached.inc(max(0, usage.cached_tokens))
