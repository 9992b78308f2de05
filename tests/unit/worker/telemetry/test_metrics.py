from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from producer_sdk.wire import Lane, Source
from tests.unit.worker.telemetry.samples import (
    HandClock,
    call,
    completed,
    ended,
    every_event,
    failed,
    job,
    parked,
    trouble,
)
from worker.core.events import (
    CalledUnrecorded,
    EndpointHeld,
    Event,
    Quarantined,
    RecordedLate,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
)
from worker.core.kinds import Kind
from worker.core.lanes import Cause
from worker.core.model import State
from worker.telemetry.metrics import Metrics

TIERS = {"premium": ["main", "backup"], "budget": ["main"]}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def metrics(clock: HandClock) -> Metrics:
    return Metrics(TIERS, clock)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = [v for n, sample_labels, v in samples(metrics) if n == name and sample_labels == labels]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def samples(metrics: Metrics) -> list[tuple[str, dict[str, str], float]]:
    _, page = metrics.page()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    ]


def series(metrics: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {(name, frozenset(labels.items())) for name, labels, _ in samples(metrics)}


def test_a_completed_job_counts_with_its_tokens_times_and_source(metrics: Metrics) -> None:
    metrics.tell(ended(completed("backup")))
    lane = {"tier": "premium", "lane": "bulk"}
    assert value(metrics, "warren_jobs_total", **lane, state="completed") == 1
    assert value(metrics, "warren_job_wait_seconds_sum", **lane) == 1.5
    assert value(metrics, "warren_job_seconds_sum", **lane) == 4
    assert value(metrics, "warren_answers_total", tier="premium", source="upstream") == 1
    route = {"tier": "premium", "endpoint": "backup"}
    assert value(metrics, "warren_tokens_total", **route, type="prompt") == 11
    assert value(metrics, "warren_tokens_total", **route, type="completion") == 22


def test_tokens_of_a_shared_answer_are_not_counted_again(metrics: Metrics) -> None:
    metrics.tell(ended(completed(source=Source.SHARED)))
    assert value(metrics, "warren_answers_total", tier="premium", source="shared") == 1
    route = {"tier": "premium", "endpoint": "main"}
    assert value(metrics, "warren_tokens_total", **route, type="prompt") == 0


def test_known_costs_add_up_and_unknown_ones_are_counted_apart(metrics: Metrics) -> None:
    for cost in (Decimal("0.25"), Decimal("0.5"), Decimal(0), None):
        metrics.tell(replace(call(endpoint="backup"), cost=cost))
    metrics.tell(replace(call(endpoint="backup", kind=Kind.BAD_RESPONSE), cost=Decimal("0.125")))
    route = {"tier": "premium", "endpoint": "backup"}
    assert value(metrics, "warren_cost_usd_total", **route) == 0.875
    assert value(metrics, "warren_unpriced_calls_total", **route) == 1


@pytest.mark.parametrize("source", [Source.SHARED, Source.CACHE])
@pytest.mark.parametrize("cost", [Decimal(1), None])
def test_an_answer_that_needed_no_call_adds_no_cost_but_what_it_saved(
    metrics: Metrics, source: Source, cost: Decimal | None
) -> None:
    metrics.tell(ended(completed(source=source, cost=cost)))
    saved = value(metrics, "warren_saved_usd_total", tier="premium", source=source.value)
    assert saved == (0 if cost is None else 1)
    route = {"tier": "premium", "endpoint": "main"}
    assert value(metrics, "warren_cost_usd_total", **route) == 0
    assert value(metrics, "warren_unpriced_calls_total", **route) == 0


def test_a_failed_job_counts_by_kind(metrics: Metrics) -> None:
    metrics.tell(ended(failed(), State.DEAD_LETTERED))
    lane = {"tier": "premium", "lane": "bulk"}
    assert value(metrics, "warren_job_failures_total", **lane, kind="invalid_request") == 1
    assert value(metrics, "warren_jobs_total", **lane, state="dead_lettered") == 1


def test_calls_count_by_kind_and_time(metrics: Metrics) -> None:
    metrics.tell(call())
    metrics.tell(call(kind=Kind.TIMEOUT, seconds=3))
    route = {"tier": "premium", "endpoint": "main"}
    assert value(metrics, "warren_calls_total", **route, kind="ok") == 1
    assert value(metrics, "warren_calls_total", **route, kind="timeout") == 1
    assert value(metrics, "warren_call_seconds_count", **route) == 2


def test_parked_quarantined_and_troubles_count(metrics: Metrics) -> None:
    for event in (
        parked(),
        parked(retry=False),
        Quarantined(tier="budget", reason="x"),
        trouble(),
    ):
        metrics.tell(event)
    lane = {"tier": "premium", "lane": "bulk"}
    assert value(metrics, "warren_parked_total", **lane, settlement="retry") == 1
    assert value(metrics, "warren_parked_total", **lane, settlement="snooze") == 1
    assert value(metrics, "warren_quarantined_total", tier="budget") == 1
    assert value(metrics, "warren_troubles_total") == 1


def test_a_held_endpoint_shows_until_its_time_is_over(metrics: Metrics, clock: HandClock) -> None:
    metrics.tell(EndpointHeld(endpoint="main", kind=Kind.RATE_LIMITED, seconds=5))
    assert value(metrics, "warren_endpoint_held", endpoint="main") == 1
    assert value(metrics, "warren_endpoint_held", endpoint="backup") == 0
    clock.seconds += 5
    assert value(metrics, "warren_endpoint_held", endpoint="main") == 0


def test_an_endpoint_that_nobody_configured_is_held_as_other(metrics: Metrics) -> None:
    for number in range(100):
        metrics.tell(EndpointHeld(endpoint=f"rogue {number}", kind=Kind.TIMEOUT, seconds=5))
    assert value(metrics, "warren_endpoint_held", endpoint="other") == 1
    assert value(metrics, "warren_endpoint_held", endpoint="main") == 0
    assert len(metrics._held_until) == 3


def test_a_paused_tier_shows_until_it_resumes(metrics: Metrics) -> None:
    metrics.tell(TierPaused(tier="budget", lane="bulk", reason="x", seconds=5))
    assert value(metrics, "warren_paused", tier="budget", lane="bulk") == 1
    metrics.tell(TierResumed(tier="budget", lane="bulk"))
    assert value(metrics, "warren_paused", tier="budget", lane="bulk") == 0


def test_a_tier_with_two_causes_to_pause_shows_until_the_last_is_over(metrics: Metrics) -> None:
    lane = {"tier": "budget", "lane": "bulk"}
    for cause in (Cause.LANE, Cause.STORE):
        metrics.tell(TierPaused(tier="budget", lane="bulk", reason="x", seconds=None, cause=cause))
    metrics.tell(TierResumed(tier="budget", lane="bulk", cause=Cause.LANE, paused=True))
    assert value(metrics, "warren_paused", **lane) == 1
    assert value(metrics, "warren_paused_for", **lane, cause="lane") == 0
    assert value(metrics, "warren_paused_for", **lane, cause="store") == 1
    metrics.tell(TierResumed(tier="budget", lane="bulk", cause=Cause.STORE))
    assert value(metrics, "warren_paused", **lane) == 0


def test_an_outage_shows_until_it_is_over_and_is_counted(metrics: Metrics) -> None:
    assert value(metrics, "warren_store_up") == 1
    metrics.tell(StoreLost(error="locked"))
    assert value(metrics, "warren_store_up") == 0
    metrics.tell(StoreBack(seconds=3))
    assert value(metrics, "warren_store_up") == 1
    assert value(metrics, "warren_store_outages_total") == 1


def test_jobs_without_a_ledger_are_counted_with_their_late_records(metrics: Metrics) -> None:
    metrics.tell(CalledUnrecorded(job=job()))
    for written in (True, True, False):
        metrics.tell(RecordedLate(job=job(), written=written))
    lane = {"tier": "premium", "lane": "bulk"}
    assert value(metrics, "warren_unrecorded_attempts_total", **lane) == 1
    assert value(metrics, "warren_late_records_total", **lane, end="written") == 2
    assert value(metrics, "warren_late_records_total", **lane, end="lost") == 1


def test_jobs_in_flight_are_asked_for_at_each_scrape(metrics: Metrics) -> None:
    jobs = [1, 2, 3]
    metrics.watch_in_flight("premium", "bulk", lambda: len(jobs))
    assert value(metrics, "warren_in_flight", tier="premium", lane="bulk") == 3
    jobs.pop()
    assert value(metrics, "warren_in_flight", tier="premium", lane="bulk") == 2


def test_what_nobody_configured_counts_as_other(metrics: Metrics) -> None:
    metrics.tell(call("premium", "main"))
    metrics.tell(call("premium", "rogue"))
    metrics.tell(call("budget", "backup"))
    metrics.tell(call("rogue", "main"))
    calls = {
        (labels["tier"], labels["endpoint"], labels["kind"])
        for name, labels, count in samples(metrics)
        if name == "warren_calls_total" and count
    }
    assert calls == {
        ("premium", "main", "ok"),
        ("premium", "other", "ok"),
        ("budget", "other", "ok"),
        ("other", "other", "ok"),
    }


def test_a_tier_may_itself_be_named_other() -> None:
    metrics = Metrics({"other": ["other"]}, HandClock())
    metrics.tell(call("other", "other"))
    metrics.tell(call("rogue", "other"))
    assert value(metrics, "warren_calls_total", tier="other", endpoint="other", kind="ok") == 2


def test_every_metric_is_ours_or_the_process_own(metrics: Metrics) -> None:
    for event in every_event():
        metrics.tell(event)
    names = {name for name, _, _ in samples(metrics)}
    assert all(name.startswith(("warren_", "process_")) for name in names)
    assert not any(name.endswith("_created") for name in names)


def test_openmetrics_is_given_to_who_asks_for_it(metrics: Metrics) -> None:
    content_type, page = metrics.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


anything = st.text(max_size=8) | st.sampled_from(["premium", "budget", "main", "backup", "bulk"])
kinds = st.sampled_from(Kind)
events = st.one_of(
    st.builds(call, anything, anything, kinds | st.none(), st.floats(0, 1e9)),
    st.builds(EndpointHeld, endpoint=anything, kind=kinds, seconds=st.floats(0, 1e9)),
    st.builds(Quarantined, tier=anything, reason=anything),
    st.builds(TierPaused, tier=anything, lane=anything, reason=anything, seconds=st.none()),
    st.builds(TierResumed, tier=anything, lane=anything),
    st.builds(
        ended,
        st.builds(
            completed,
            anything,
            source=st.sampled_from(Source),
            cost=st.decimals(0, 10**6) | st.none(),
        )
        | st.builds(failed, kinds),
        st.sampled_from(State),
        of=st.builds(job, tier=anything, lane=st.sampled_from(Lane)),
    ),
)


@settings(max_examples=40)
@given(st.lists(events, max_size=20))
def test_no_event_makes_another_series(told: list[Event]) -> None:
    metrics = Metrics({"premium": ["main"]}, HandClock())
    before = series(metrics)
    for event in told:
        metrics.tell(event)
    assert series(metrics) == before
