"""Every setting: its type, its bounds, its default, and (the last string of its annotation) its meaning.

The tables in docs/settings.md are made from here, from `calling`, `endpoints`, `managed`, `prices` and `budgets`, and `load` reads nothing that is not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from producer_sdk.wire import QueueType
from worker.settings.budgets import BudgetSettings
from worker.settings.calling import RetrySettings, TierSettings
from worker.settings.endpoints import EndpointSettings
from worker.settings.managed import SecretsSettings
from worker.settings.prices import PriceSettings
from worker.settings.secret import Secret
from worker.settings.urls import checked_database, url
from worker.settings.values import (
    Address,
    Duration,
    ReadAddress,
    ReadPath,
    Size,
    lasting,
    measuring,
    parse_path,
    parse_secret,
)

_MIB = 1024**2
_REDIS_URL = url("redis", "rediss", user=True)
_LISTEN = Address(host="127.0.0.1", port=9464)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """How RabbitMQ is reached. `url` holds no password: one written there moves to `password`."""

    url: Annotated[
        str,
        url("amqp", "amqps", user=True, several=True),
        "Where RabbitMQ is: `amqps://user@host/vhost`, of a cluster `…@host1,host2,host3/vhost`; `amqp://` to this"
        " machine only",
    ]
    queue_type: Annotated[
        QueueType,
        "What the queues are: `classic`, on one node, or `quorum`, on three nodes of a cluster, RabbitMQ 4 and later",
    ] = "classic"
    password: Annotated[
        Secret | None, PlainValidator(parse_secret), "The broker user's password"
    ] = None
    ca_file: Annotated[
        Path | None,
        BeforeValidator(parse_path),
        "Certificates to trust for `amqps` instead of the system's",
    ] = None
    allow_plaintext: Annotated[
        bool, "Allow `amqp://`, and `http://` for management, to another machine"
    ] = False
    heartbeat: Annotated[
        Duration, lasting("5s", "5m"), "A dead connection is noticed after about two of these"
    ] = timedelta(seconds=20)
    reconnect_interval: Annotated[
        Duration, lasting("100ms", "1m"), "Pause between two attempts to connect"
    ] = timedelta(seconds=1)
    consumer_timeout: Annotated[
        Duration,
        lasting("1m", "7d"),
        "What `rabbitmq.conf` sets as `consumer_timeout`: attempts must be shorter",
    ] = timedelta(minutes=30)
    management_url: Annotated[
        str | None,
        url("http", "https"),
        "The management API, for `warren status` and `warren topology check`",
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The store: an embedded file, or with `url` a Redis; how long and how much it keeps.

    `url` holds no password: one written there moves to `password`.
    """

    path: Annotated[
        ReadPath,
        "Folder of the embedded store, the ledger and the cache of one host, on a local disk",
    ] = Path("/var/lib/warren")
    durability: Annotated[
        Literal["process", "power"],
        "What a commit of the embedded store survives: the death of the process, or also the loss of power",
    ] = "process"
    on_outage: Annotated[
        Literal["wait", "call"],
        "While the store does not answer: jobs `wait`, or workers `call` without ledger, claims and dedupe",
    ] = "wait"
    url: Annotated[
        str | None,
        _REDIS_URL,
        AfterValidator(checked_database),
        "A Redis or Valkey as the store of several hosts, instead of `path`: `rediss://host:6379/0`; `redis://` to this machine only",
    ] = None
    password: Annotated[Secret | None, PlainValidator(parse_secret), "The password of Redis"] = None
    prefix: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$"),
        "What the names of all keys in Redis begin with; another prefix is another store",
    ] = "warren"
    ca_file: Annotated[
        Path | None,
        BeforeValidator(parse_path),
        "Certificates to trust for `rediss` instead of the system's",
    ] = None
    allow_plaintext: Annotated[bool, "Allow `redis://` to another machine"] = False
    timeout: Annotated[
        Duration,
        lasting("100ms", "10s"),
        "How long connecting to Redis, and any answer of it, may take",
    ] = timedelta(seconds=5)
    result_ttl: Annotated[
        Duration, lasting("1m", "365d"), "How long a response's body is kept to be replied again"
    ] = timedelta(days=1)
    record_ttl: Annotated[
        Duration,
        lasting("1m", "365d"),
        "How long it is known that a job ended: at least the longest retry horizon + `replay_window`",
    ] = timedelta(days=10)
    replay_window: Annotated[
        Duration, lasting("0s", "365d"), "How long after its end a dead letter may be replayed"
    ] = timedelta(days=7)
    cache_ttl: Annotated[
        Duration, lasting("1s", "365d"), "How long a response answers `dedupe=cache`"
    ] = timedelta(days=1)
    cache_max_size: Annotated[
        Size,
        measuring("0B", "1024GiB"),
        "The cache's room in the store; the oldest entries go first",
    ] = 1024 * _MIB
    cache_max_entry: Annotated[
        Size, measuring("0B", "1GiB"), "Larger responses are not put into the cache"
    ] = _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the worker answers about itself."""

    listen: Annotated[
        ReadAddress, "Address of `/livez`, `/readyz` and `/metrics`; port 0: any free one"
    ] = _LISTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The process itself."""

    grace_period: Annotated[
        Duration, lasting("0s", "1d"), "How long a stop waits for calls in flight"
    ] = timedelta(seconds=30)
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], "The least severe lines that are logged"
    ] = "info"
    log_format: Annotated[
        Literal["json", "console", "auto"],
        "One JSON object a line, or lines for people; `auto`: for people if stdout is a terminal",
    ] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. Parts take the narrow piece that they need, never this.

    `sources` tells for each value that was given where it comes from; what it does not name is a default.
    `warnings` are for the log: nothing in them stops the worker.
    """

    broker: BrokerSettings
    store: StoreSettings
    http: HttpSettings
    worker: WorkerSettings
    secrets: SecretsSettings
    retry: RetrySettings
    tiers: Mapping[str, TierSettings]
    endpoints: Mapping[str, EndpointSettings]
    prices: Mapping[str, PriceSettings]
    budgets: Mapping[str, BudgetSettings]
    sources: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...]
