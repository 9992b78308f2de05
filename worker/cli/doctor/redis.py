"""What a Redis's version, memory, persistence and role mean for the ledger in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from worker.cli.doctor.finding import REDIS, Finding, failed, ok, warn
from worker.store.redis.inspection import Inspected

_MIB: Final = 1024**2
_OLDEST: Final = (7, 0)
# The first release of a series in which anybody who may run a script cannot run a program; see docs/stores.md.
_PATCHED: Final[Mapping[str, Mapping[tuple[int, int], int]]] = {
    "Redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2, (8, 6): 3},
    "Valkey": {(7, 2): 14, (8, 0): 10, (8, 1): 9, (9, 0): 5, (9, 1): 1},
}
_FULL: Final = 0.8


def findings(found: Inspected, *, cache_size: int) -> Iterator[Finding]:
    """Judge all that a Redis told of itself, but its clock."""
    yield version(found.product, found.version)
    yield _role(found)
    yield _eviction(found)
    yield memory(found.used_memory, found.max_memory, cache_size)
    yield _persistence(found)


def version(product: str, text: str) -> Finding:
    """Judge what runs there."""
    what, said = f"{REDIS} version", f"{product} {text}"
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    upgrade = "run the latest patch of Redis 7.2 or newer, or of Valkey 8.0 or newer"
    if numbers is None:
        return warn(what, f"it says {text!r}, which is no version", upgrade)
    series, patch = (int(numbers[1]), int(numbers[2])), int(numbers[3] or 0)
    if series < _OLDEST:
        return failed(what, f"{said} is older than 7.0, the oldest that works", upgrade)
    patched = _PATCHED[product]
    if series < min(patched):
        return warn(
            what,
            f"{said} is of a series that gets no fixes any more, but from a distribution that keeps it",
            upgrade,
        )
    if patch < patched.get(series, 0):
        needed = f"{series[0]}.{series[1]}.{patched[series]}"
        return warn(what, f"{said} lacks fixes that {needed} has", upgrade)
    return ok(what, said)


def _role(found: Inspected) -> Finding:
    what = f"{REDIS} role"
    if found.mode == "cluster":
        return failed(
            what,
            "it is a node of a cluster: Warren's keys lie on one node, and a cluster may move them",
            "name a Redis that is no cluster in store.url",
        )
    if found.role != "master":
        return failed(
            what,
            "it is a replica, and takes no writes",
            "let store.url lead to the primary, also after a failover",
        )
    return ok(what, f"it takes writes, and has {found.replicas} replicas")


def _eviction(found: Inspected) -> Finding:
    what, mend = f"{REDIS} eviction", "set maxmemory-policy noeviction in its configuration"
    if found.policy == "noeviction":
        return ok(what, "it refuses writes rather than forget anything (noeviction)")
    detail = (
        f"with {found.policy or 'an unknown policy'} it forgets records when its memory is full"
    )
    if found.max_memory == 0:
        return warn(what, f"{detail}; it has no maxmemory yet", mend)
    return failed(what, f"{detail}: jobs would be called and paid for again", mend)


def memory(used: int, most: int, cache_size: int) -> Finding:
    """Judge the room in memory; `most` 0: no bound."""
    what = f"{REDIS} memory"
    if most == 0:
        return warn(
            what,
            f"{used // _MIB} MiB are used, and there is no bound: it may take all memory of its machine",
            "set maxmemory in its configuration to what its machine can spare",
        )
    detail = f"{used // _MIB} of {most // _MIB} MiB are used, the cache may take {cache_size // _MIB} MiB"
    if used > most * _FULL:
        return warn(what, f"{detail}: a full one takes no jobs", "raise its maxmemory")
    if cache_size > most / 2:
        return warn(
            what,
            f"{detail}: the ledger could find no room beside it",
            "raise its maxmemory, or lower store.cache_max_size",
        )
    return ok(what, detail)


def _persistence(found: Inspected) -> Finding:
    what = f"{REDIS} persistence"
    on = "set appendonly yes in its configuration"
    if not found.append_only:
        detail = "it keeps no append-only file: a restart forgets what was recorded since its last snapshot"
        if found.replicas:
            return warn(what, f"{detail}, unless a replica takes over", on)
        return failed(what, detail, on)
    if not found.append_ok:
        return failed(what, "its last write to disk failed", "look at its disk and its log")
    return _power(what, found.fsync)


def _power(what: str, fsync: str | None) -> Finding:
    """Judge what a loss of power takes from the append-only file."""
    match fsync:
        case "always":
            return ok(what, "what is recorded survives the loss of power (appendfsync always)")
        case "everysec":
            return ok(
                what,
                "what is recorded survives its own end; the last second may be lost with the power (appendfsync everysec)",
            )
        case "no":
            return warn(
                what,
                "a loss of power loses what the system had not written yet (appendfsync no)",
                "set appendfsync everysec, or always, in its configuration",
            )
        case _:
            return ok(
                what, "it keeps an append-only file; how often that reaches the disk is not shown"
            )
