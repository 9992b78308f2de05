"""Where the Redis is, how long things are kept in it, and how a process shows that it lives."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """One Redis or Valkey for all worker processes of a fleet.

    `url` is `redis://`, `rediss://` (TLS, verified, against `ca_file` if given) or `unix://`, with the database
    number as its path; it holds no password. All keys are `{<prefix>}:…`, so that several fleets can share a server, and one
    fleet lies in one slot.

    `record_ttl` counts from a run's end, or from the deadline of a job that never ended: it must be longer
    than the longest retry horizon and replay window together, or a late copy starts its job anew.
    `answer_ttl` is how long a follower can be away and still find its leader's outcome.
    `lease` must be several times `renew_every`; a process that is stopped or cut off for longer loses its claims.
    `timeout` bounds one round trip, and one try to connect.
    """

    url: str = "redis://127.0.0.1:6379"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    prefix: str = "warren"
    timeout: timedelta = timedelta(seconds=5)
    result_ttl: timedelta = timedelta(hours=24)
    record_ttl: timedelta = timedelta(days=10)
    answer_ttl: timedelta = timedelta(hours=1)
    cache_ttl: timedelta = timedelta(hours=24)
    cache_bytes: int = 256 * 1024 * 1024
    cache_entry_bytes: int = 1024 * 1024
    lease: timedelta = timedelta(seconds=15)
    renew_every: timedelta = timedelta(seconds=5)
    sweep_every: timedelta = timedelta(seconds=60)
