"""What a Redis tells about itself, for an operator: one look, nothing is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from redis.exceptions import ResponseError

from worker.store.instants import from_us
from worker.store.redis.direct import Direct, direct
from worker.store.redis.options import RedisOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The facts; sizes in bytes. `fsync` None: the user may not see it. `max_memory` 0: no bound."""

    product: str
    version: str
    mode: str
    role: str
    replicas: int
    policy: str
    max_memory: int
    used_memory: int
    append_only: bool
    append_ok: bool
    fsync: str | None
    snapshot_ok: bool
    time: datetime


def inspect(options: RedisOptions) -> Inspected:
    """Ask the Redis.

    Raises:
        StoreUnavailable: it cannot be reached, or refuses us.
    """
    with direct(options) as redis:
        facts = _facts(redis.command("INFO", "everything"))
        seconds, micros = map(int, redis.command("TIME"))
        fsync = _fsync(redis)
    valkey = facts.get("valkey_version")
    return Inspected(
        product="Redis" if valkey is None else "Valkey",
        version=valkey or facts.get("redis_version", ""),
        mode=facts.get("redis_mode", facts.get("server_mode", "standalone")),
        role=facts.get("role", "master"),
        replicas=int(facts.get("connected_slaves", "0")),
        policy=facts.get("maxmemory_policy", ""),
        max_memory=int(facts.get("maxmemory", "0")),
        used_memory=int(facts.get("used_memory", "0")),
        append_only=facts.get("aof_enabled") == "1",
        append_ok=facts.get("aof_last_write_status", "ok") == "ok",
        fsync=fsync,
        snapshot_ok=facts.get("rdb_last_bgsave_status", "ok") == "ok",
        time=from_us(seconds * 1_000_000 + micros),
    )


def _facts(told: bytes) -> Mapping[str, str]:
    lines = told.decode(errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _fsync(redis: Direct) -> str | None:
    try:
        found: list[bytes] = redis.command("CONFIG", "GET", "appendfsync")
    except ResponseError:  # a service that somebody else runs hides its configuration
        return None
    return found[1].decode() if found else None
