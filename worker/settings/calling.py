"""The settings about calls: the retry budget and the tiers. See `schema`; `endpoints` has those that serve a tier."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from producer_sdk.wire import Dedupe
from worker.core.routing import DEFAULT, Policy
from worker.core.windows import Window
from worker.settings.bounds import MOST_JOBS_OF_A_LANE
from worker.settings.values import (
    Duration,
    lasting,
    one_of,
    parse_list,
    parse_window,
    parse_windows,
    within,
)


def _s(*seconds: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=each) for each in seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """The one budget of all retrying. Calls for a job: at most `max_attempts` x `tries`, beside refusals."""

    max_attempts: Annotated[int, within(1, 100), "Counted attempts of a job in one run"] = 5
    tries: Annotated[int, within(1, 10), "Calls inside one attempt"] = 2
    try_backoff_base: Annotated[
        Duration, lasting("0s", "2s"), "Pause before the second try; it doubles with each"
    ] = timedelta(milliseconds=200)
    try_backoff_cap: Annotated[
        Duration, lasting("0s", "2s"), "The longest pause between two tries"
    ] = timedelta(seconds=2)
    attempt_backoffs: Annotated[
        tuple[Annotated[Duration, lasting("100ms", "1d")], ...],
        BeforeValidator(parse_list),
        Field(min_length=1),
        "Waits between attempts, parked at the broker; the last one repeats",
    ] = _s(2, 10, 60, 300)
    max_refusals: Annotated[
        int,
        within(0, 100_000),
        "How often the upstream may refuse a job's calls (429, or an overload that lasts) in one run",
    ] = 100
    refusal_backoffs: Annotated[
        tuple[Annotated[Duration, lasting("100ms", "1d")], ...],
        BeforeValidator(parse_list),
        Field(min_length=1),
        "Waits after a refusal that names no time of its own; the last one repeats",
    ] = _s(2, 10, 60)
    budget_share: Annotated[
        float,
        within(0, 1),
        "Most tries after the first, over all jobs of a tier, as a share of its first tries",
    ] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSettings:
    """One tier: a model class with queues of its own."""

    name: str
    endpoints: Annotated[
        tuple[str, ...],
        BeforeValidator(parse_list),
        Field(min_length=1),
        "The endpoints that serve the tier",
    ]
    routing: Annotated[
        Policy,
        one_of(Policy),
        "How a call's endpoint is chosen: by latency and load (`ewma`, `peak-ewma`, `blend`), load alone (`least-load`), or price first (`cheapest`)",
    ] = DEFAULT
    fallback_models: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        BeforeValidator(parse_list),
        "Models that answer when no endpoint can with the one asked for, in this order; none: it is waited for",
    ] = ()
    hedge_after: Annotated[
        Duration | None,
        lasting("10ms", "1d"),
        "Ask a second endpoint too when the first has not answered for so long; none: never",
    ] = None
    hedge_share: Annotated[
        float, within(0.001, 1), "Most such second calls, as a share of the tier's calls"
    ] = 0.05
    concurrency: Annotated[
        int,
        within(1, MOST_JOBS_OF_A_LANE),
        "Interactive jobs of the tier that this worker works on at once",
    ] = 16
    requests_per_minute: Annotated[
        int,
        within(0, 1_000_000),
        "Calls that interactive jobs start in any minute, over all workers; 0: any number",
    ] = 0
    windows: Annotated[
        tuple[Annotated[Window, PlainValidator(parse_window)], ...],
        BeforeValidator(parse_windows),
        'When interactive jobs are called, such as `["06:00-22:00 Europe/Berlin, Mon-Fri"]`; none: always',
    ] = ()
    bulk_concurrency: Annotated[
        int,
        within(1, MOST_JOBS_OF_A_LANE),
        "Bulk jobs of the tier that this worker works on at once",
    ] = 4
    bulk_requests_per_minute: Annotated[
        int,
        within(0, 1_000_000),
        "Calls that bulk jobs start in any minute, over all workers; 0: any number",
    ] = 0
    bulk_windows: Annotated[
        tuple[Annotated[Window, PlainValidator(parse_window)], ...],
        BeforeValidator(parse_windows),
        'When bulk jobs are called, such as `["22:00-06:00 Europe/Berlin, Mon-Fri"]`; none: always',
    ] = ()
    dedupe: Annotated[
        Dedupe,
        one_of(Dedupe),
        "With whom a request that does not say may share an answer: `off`, `inflight` or `cache`",
    ] = Dedupe.OFF
    attempt_timeout: Annotated[
        Duration, lasting("100ms", "1d"), "The longest that an attempt may take"
    ] = timedelta(minutes=2)
    deadline: Annotated[
        Duration,
        lasting("1s", "90d"),
        "From delivery to a worker: the deadline of requests without one",
    ] = timedelta(days=1)
    max_deadline: Annotated[
        Duration,
        lasting("1s", "90d"),
        "From delivery to a worker: a request's later deadline is cut to this",
    ] = timedelta(days=3)
