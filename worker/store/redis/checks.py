"""What a Redis must be like to keep the ledger, and what it should be like."""

from collections.abc import Iterator, Mapping
from typing import Final

from worker.errors import SettingsError, StoreUnavailable
from worker.store.redis.connection import RedisConnection

# The first with all that the scripts use; an older one refuses `#!lua`, by which a script is whole when memory is out.
_OLDEST: Final = (7, 0)


async def check(connection: RedisConnection) -> tuple[str, ...]:
    """Make sure that the server may keep the ledger; give warnings about what it does not promise.

    What a server does not tell is taken to be right: a managed one may hide its configuration.

    Raises:
        SettingsError: it is too old, a cluster of several nodes, or evicts what it has no room for.
        StoreUnavailable: it cannot be used now.
    """
    about = _facts(await connection.command("INFO", "everything"))
    policy = await _policy(connection)
    problems = tuple(_problems(about, policy, connection.place))
    if problems:
        raise SettingsError(problems)
    if about.get("loading", "0") != "0":
        raise StoreUnavailable(
            f"the Redis {connection.place} is reading its data after a start; wait, it comes by itself"
        )
    return tuple(_warnings(about))


def _problems(about: Mapping[str, str], policy: str, place: str) -> Iterator[str]:
    version = about.get("redis_version", "")
    if "valkey_version" not in about and _version(version) < _OLDEST:
        yield f"store.url: the Redis {place} is version {version}; take 7.0 or newer, or any Valkey"
    if about.get("cluster_enabled", "0") != "0":
        yield (
            f"store.url: the Redis {place} is a node of a cluster, and Warren's keys lie in one slot;"
            " name a server without cluster mode"
        )
    if policy not in {"", "noeviction"}:
        yield (
            f"store.url: the Redis {place} evicts what it has no room for (maxmemory-policy {policy}):"
            " a job whose record is gone is paid for again; set maxmemory-policy to noeviction"
        )


def _warnings(about: Mapping[str, str]) -> Iterator[str]:
    if about.get("aof_enabled", "1") == "0":
        yield (
            "its append-only file is off: a restart loses what was recorded since its last snapshot, and those"
            " calls are made again; set appendonly to yes"
        )


async def _policy(connection: RedisConnection) -> str:
    try:
        told = await connection.command("CONFIG", "GET", "maxmemory-policy")
    except StoreUnavailable:
        return ""
    return told[1].decode() if len(told) > 1 else ""


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
