"""What a Redis must be like to keep the ledger, and what it should be like."""

from collections.abc import Iterator, Mapping
from typing import Final

from worker.errors import SettingsError, StoreUnavailable
from worker.store.redis.connection import RedisConnection

# The first with all that the scripts use; an older one refuses `#!lua`, by which a script is whole when memory is out.
_OLDEST: Final = (7, 0)
# What the keys mean; another number is another Warren's.
_FORMAT: Final = 1


async def check(connection: RedisConnection) -> tuple[str, ...]:
    """Make sure that the server may keep the ledger; give warnings about what it does not promise.

    What a server does not tell is taken to be right: a managed one may hide its configuration.

    Raises:
        SettingsError: it is too old, a node of a cluster, evicts what it has no room for, or its keys are of
            another Warren's format.
        StoreUnavailable: it cannot be used now.
    """
    about = _facts(await connection.command("INFO", "everything"))
    problems = tuple(_problems(about, connection.place))
    if problems:
        raise SettingsError(problems)
    if about.get("loading", "0") != "0":
        raise StoreUnavailable(
            f"the Redis {connection.place} is reading its data after a start; wait, it comes by itself"
        )
    await _check_format(connection)
    return tuple(_warnings(about))


async def _check_format(connection: RedisConnection) -> None:
    key = connection.key("format")
    found = await connection.command("GET", key)
    if found is None:
        await connection.command("SET", key, _FORMAT, "NX")
        found = await connection.command("GET", key)
    if found != str(_FORMAT).encode():
        problem = (
            f"store.prefix: the keys {connection.key()}:… on the Redis {connection.place} have format"
            f" {found.decode(errors='replace')}, this Warren knows {_FORMAT}; run the Warren that wrote them, or name another prefix"
        )
        raise SettingsError((problem,))


def _problems(about: Mapping[str, str], place: str) -> Iterator[str]:
    version = about.get("redis_version", "")
    if "valkey_version" not in about and _version(version) < _OLDEST:
        yield f"store.url: the Redis {place} is version {version}; take 7.0 or newer, or any Valkey"
    if about.get("cluster_enabled", "0") != "0":
        yield (
            f"store.url: the Redis {place} is a node of a cluster, and Warren's keys lie in one slot;"
            " name a server without cluster mode"
        )
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
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


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
