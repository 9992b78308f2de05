"""The settings about calls: the retry budget, the tiers and the endpoints that serve them. See `schema`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from producer_sdk.wire import Dedupe
from worker.core.routing import DEFAULT as DEFAULT_POLICY
from worker.core.routing import Policy
from worker.core.windows import Window
from worker.settings.headers import checked_headers
from worker.settings.secret import Secret
from worker.settings.urls import url
from worker.settings.values import (
    Duration,
    Size,
    lasting,
    measuring,
    one_of,
    parse_list,
    parse_path,
    parse_secret,
    parse_table,
    parse_window,
    parse_windows,
    within,
)

_MIB = 1024**2


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
        int, within(0, 100_000), "How often the upstream may refuse a job's calls (429) in one run"
    ] = 100
    refusal_backoffs: Annotated[
        tuple[Annotated[Duration, lasting("100ms", "1d")], ...],
        BeforeValidator(parse_list),
        Field(min_length=1),
        "Waits after a refusal that names no time of its own; the last one repeats",
    ] = _s(2, 10, 60)


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
    concurrency: Annotated[
        int, within(1, 2000), "Interactive jobs of the tier that this worker works on at once"
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
        int, within(1, 2000), "Bulk jobs of the tier that this worker works on at once"
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
    routing: Annotated[
        Policy,
        one_of(Policy),
        "How a call's endpoint is chosen: `ewma`, `peak-ewma`, `blend` or `least-load`",
    ] = DEFAULT_POLICY
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """One endpoint: a URL, a key, and how to talk to it. `headers` may hold secrets, so it is not shown."""

    name: str
    base_url: Annotated[
        str, url("http", "https"), "Root of the API, with its version: `https://api.openai.com/v1`"
    ]
    key: Annotated[
        Secret | None, PlainValidator(parse_secret), "The API key; none for a server without keys"
    ] = None
    http: Annotated[
        Literal["auto", "1.1", "2"], "The HTTP version; `auto` asks the server over TLS"
    ] = "auto"
    weight: Annotated[
        float, within(0.001, 1000), "Share of the tier's calls, relative to its other endpoints"
    ] = 1.0
    connect_timeout: Annotated[
        Duration, lasting("10ms", "5m"), "How long connecting, with TLS, may take"
    ] = timedelta(seconds=5)
    read_timeout: Annotated[
        Duration, lasting("10ms", "1d"), "The longest silence of the upstream inside a call"
    ] = timedelta(minutes=2)
    ca_file: Annotated[
        Path | None, BeforeValidator(parse_path), "Certificates to trust instead of the system's"
    ] = None
    headers: Annotated[
        Mapping[str, str],
        BeforeValidator(parse_table),
        AfterValidator(checked_headers),
        "Headers added to every call",
    ] = field(repr=False, default_factory=lambda: MappingProxyType({}))
    max_response: Annotated[
        Size,
        measuring("1KiB", "15MiB"),
        "Larger responses end the job; RabbitMQ takes messages up to 16 MiB",
    ] = 15 * _MIB
    allow_plaintext: Annotated[bool, "Allow `http://` to another machine"] = False
