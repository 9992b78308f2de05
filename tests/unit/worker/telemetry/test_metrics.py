import math
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
from worker.core.circuit import State as CircuitState
from worker.core.events import (
    CalledUnrecorded,
    CallEnded,
    CircuitChanged,
    Counted,
    EndpointHeld,
    Event,
    LimitSeen,
    Quarantined,
    RecordedLate,
    RetryDenied,
    SeatRefused,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
)
from worker.core.kinds import Kind
from worker.core.lanes import Cause
from worker.core.model import State
from worker.core.seats import Obstacle
from worker.telemetry.metrics import Metrics

TIERS = {"premium": ["main", "backup"], "budget": ["main"]}
MODELS = {"main": ["large"], "backup": ["large", "small"]}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def metrics(clock: HandClock) -> Metrics:
    return Metrics(TIERS, clock, models=MODELS)


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


def counted(metrics: Metrics, wanted: str) -> list[tuple[dict[str, str], float]]:
    return [(labels, count) for name, labels, count in samples(metrics) if name == wanted]


def series(metrics: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {(name, frozenset(labels.items())) for name, labels, _ in samples(metrics)}


def test_a_completed_job_counts_with_its_tokens_times_and_source(metrics: Metrics) -> None:
    metrics.tell(ended(completed("backup"), of=job(model="small")))
    lane = {"tier": "premium", "lane": "bulk"}
    assert value(metrics, "warren_jobs_total", **lane, state="completed") == 1
    assert value(metrics, "warren_job_wait_seconds_sum", **lane) == 1.5
    assert value(metrics, "warren_job_seconds_sum", **lane) == 4
    assert value(metrics, "warren_answers_total", tier="premium", source="upstream") == 1
    place = {"tier": "premium", "endpoint": "backup", "model": "small"}
    assert value(metrics, "warren_tokens_total", **place, type="prompt") == 11
    assert value(metrics, "warren_tokens_total", **place, type="completion") == 22
    assert value(metrics, "warren_cached_tokens_total", **place) == 7


def test_tokens_of_a_shared_answer_are_not_counted_again(metrics: Metrics) -> None:
    metrics.tell(ended(completed(source=Source.SHARED)))
    assert value(metrics, "warren_answers_total", tier="premium", source="shared") == 1
    assert all(count == 0 for _, count in counted(metrics, "warren_tokens_total"))
    assert all(count == 0 for _, count in counted(metrics, "warren_cached_tokens_total"))


def test_known_costs_add_up_and_unknown_ones_are_counted_apart(metrics: Metrics) -> None:
    for cost in (Decimal("0.25"), Decimal("0.5"), Decimal(0), None):
        metrics.tell(call(endpoint="backup", model="small", cost=cost))
    bad = call(endpoint="backup", model="small", kind=Kind.BAD_RESPONSE, cost=Decimal("0.125"))
    metrics.tell(bad)
    metrics.tell(call(endpoint="backup", model="small", kind=Kind.TIMEOUT))
    place = {"tier": "premium", "endpoint": "backup", "model": "small"}
    assert value(metrics, "warren_cost_usd_total", **place) == 0.875
    assert value(metrics, "warren_unpriced_calls_total", **place) == 1
    route = {"tier": "premium", "endpoint": "backup"}
    assert value(metrics, "warren_uncertain_calls_total", **route) == 1


@pytest.mark.parametrize("source", [Source.SHARED, Source.CACHE])
@pytest.mark.parametrize("cost", [Decimal(1), None])
def test_an_answer_that_needed_no_call_adds_no_cost_but_what_it_saved(
    metrics: Metrics, source: Source, cost: Decimal | None
) -> None:
    metrics.tell(ended(completed(source=source, cost=cost)))
    assert all(count == 0 for _, count in counted(metrics, "warren_cost_usd_total"))
    assert all(count == 0 for _, count in counted(metrics, "warren_unpriced_calls_total"))
    saved = value(metrics, "warren_saved_usd_total", tier="premium", source=source)
    assert saved == (0 if cost is None else 1)


def test_what_the_choice_by_price_saves_is_added_up(metrics: Metrics) -> None:
    for saved in (Decimal("0.25"), None, Decimal("0.5")):
        metrics.tell(
            CallEnded(
                job_id="1", tier="premium", endpoint="main", kind=None, seconds=1, saved=saved
            )
        )
    assert value(metrics, "warren_saved_usd_total", tier="premium", source="routing") == 0.75


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
    assert value(metrics, "warren_call_seconds_count", **route, model="other") == 2


def test_a_call_counts_by_the_model_that_its_endpoint_is_configured_for(metrics: Metrics) -> None:
    metrics.tell(call(endpoint="main", model="large", first_byte_s=0.05))
    metrics.tell(call(endpoint="main", model="small"))
    at_main = {"tier": "premium", "endpoint": "main"}
    for name, large, other in (("call_seconds", 1, 1), ("first_byte_seconds", 1, 0)):
        assert value(metrics, f"warren_{name}_count", **at_main, model="large") == large
        assert value(metrics, f"warren_{name}_count", **at_main, model="other") == other
    assert value(metrics, "warren_first_byte_seconds_sum", **at_main, model="large") == 0.05


def test_calls_beyond_an_attempts_first_count_by_why_they_were_made(metrics: Metrics) -> None:
    for event in (call(), call(retry=True), call(hedge=True), call(retry=True, hedge=True)):
        metrics.tell(event)
    metrics.tell(RetryDenied(tier="premium", endpoint="main"))
    route = {"tier": "premium", "endpoint": "main"}
    assert value(metrics, "warren_calls_total", **route, kind="ok") == 4
    assert value(metrics, "warren_extra_calls_total", **route, why="retry") == 2
    assert value(metrics, "warren_extra_calls_total", **route, why="hedge") == 2
    assert value(metrics, "warren_retries_denied_total", **route) == 1


def test_a_circuit_is_in_one_state_and_closed_at_first(metrics: Metrics) -> None:
    def now(endpoint: str) -> list[str]:
        return [
            labels["state"]
            for labels, on in counted(metrics, "warren_circuit_state")
            if labels["endpoint"] == endpoint and on
        ]

    assert now("main") == ["closed"]
    for state in (CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.OPEN):
        metrics.tell(CircuitChanged(endpoint="main", state=state))
        assert now("main") == [state]
    assert now("backup") == ["closed"]
    metrics.tell(CircuitChanged(endpoint="main", state=CircuitState.CLOSED))
    assert now("main") == ["closed"]
    assert value(metrics, "warren_circuit_opened_total", endpoint="main") == 2


def test_what_was_never_told_of_a_limit_is_no_number(metrics: Metrics) -> None:
    place = {"endpoint": "main", "what": "tokens"}
    assert math.isnan(value(metrics, "warren_limit_left", **place))
    metrics.tell(LimitSeen(endpoint="main", what=Counted.TOKENS, limit=None, left=40))
    assert math.isnan(value(metrics, "warren_limit_per_minute", **place))
    metrics.tell(LimitSeen(endpoint="main", what=Counted.TOKENS, limit=100, left=None))
    assert value(metrics, "warren_limit_left", **place) == 40
    assert value(metrics, "warren_limit_per_minute", **place) == 100
    assert math.isnan(value(metrics, "warren_limit_left", endpoint="main", what="requests"))


def test_a_refused_seat_counts_by_its_reason_at_an_endpoint_or_at_none(metrics: Metrics) -> None:
    for endpoint in ("main", None, "rogue"):
        metrics.tell(
            SeatRefused(tier="premium", endpoint=endpoint, reason=Obstacle.TOKENS, seconds=1)
        )
    refused = [
        (labels["tier"], labels["endpoint"], labels["reason"])
        for labels, count in counted(metrics, "warren_seats_refused_total")
        if count
    ]
    assert sorted(refused) == [
        ("premium", "*", "tokens"),
        ("premium", "main", "tokens"),
        ("premium", "other", "tokens"),
    ]


def test_a_worker_is_asked_at_each_scrape_whether_it_is_ready(metrics: Metrics) -> None:
    assert value(metrics, "warren_ready") == 0
    missing = ["broker"]
    metrics.watch_ready(lambda: not missing)
    assert value(metrics, "warren_ready") == 0
    missing.clear()
    assert value(metrics, "warren_ready") == 1


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


anything = st.text(max_size=8) | st.sampled_from(
    ["premium", "budget", "main", "backup", "bulk", "*"]
)
kinds = st.sampled_from(Kind)
events = st.one_of(
    st.builds(
        call,
        anything,
        anything,
        kinds | st.none(),
        st.floats(0, 1e9),
        model=anything,
        first_byte_s=st.floats(0, 1e9) | st.none(),
        retry=st.booleans(),
        hedge=st.booleans(),
    ),
    st.builds(CircuitChanged, endpoint=anything, state=st.sampled_from(CircuitState)),
    st.builds(
        LimitSeen,
        endpoint=anything,
        what=st.sampled_from(Counted),
        limit=st.integers(0, 10**9) | st.none(),
        left=st.integers(0, 10**9) | st.none(),
    ),
    st.builds(
        SeatRefused,
        tier=anything,
        endpoint=anything | st.none(),
        reason=st.sampled_from(Obstacle),
        seconds=st.floats(0, 1e9),
    ),
    st.builds(RetryDenied, tier=anything, endpoint=anything),
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
        of=st.builds(job, tier=anything, lane=st.sampled_from(Lane), model=anything),
    ),
)


@settings(max_examples=40)
@given(st.lists(events, max_size=20))
def test_no_event_makes_another_series(told: list[Event]) -> None:
    metrics = Metrics({"premium": ["main"]}, HandClock(), models={"main": ["bulk"]})
    before = series(metrics)
    for event in told:
        metrics.tell(event)
    assert series(metrics) == before


def size(tiers: int, endpoints: int, models: int) -> int:
    """Count the series of a worker whose tiers share no endpoint."""
    names = {f"tier{n}": [f"endpoint{n}-{m}" for m in range(endpoints)] for n in range(tiers)}
    serving = [f"model{n}" for n in range(models)]
    at = {endpoint: serving for each in names.values() for endpoint in each}
    return len(series(Metrics(names, HandClock(), models=at)))


def test_each_place_that_is_configured_adds_a_fixed_and_small_number_of_series() -> None:
    nothing, tier, endpoint, model = size(0, 0, 0), size(1, 0, 0), size(1, 1, 0), size(1, 1, 1)
    a_tier, an_endpoint, a_model = tier - nothing, endpoint - tier, model - endpoint
    assert size(2, 3, 4) == nothing + 2 * (a_tier + 3 * (an_endpoint + 4 * a_model))
    # docs/monitoring.md states these bounds.
    assert nothing <= 320
    assert a_tier <= 300
    assert an_endpoint <= 90
    assert a_model <= 40


def test_twenty_tiers_of_four_endpoints_with_five_models_have_less_than_30_000_series() -> None:
    assert size(20, 4, 5) < 30_000
