"""The doctor's verdicts about a Redis."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from worker.cli.doctor import redis
from worker.cli.doctor.finding import REDIS, Finding, Severity, exit_status, failed
from worker.store.redis.inspection import Inspected

OK, WARN, FAIL = Severity
MIB = 1024**2
GOOD = Inspected(
    product="Redis",
    version="8.8.0",
    mode="standalone",
    role="master",
    replicas=0,
    policy="noeviction",
    max_memory=1024 * MIB,
    used_memory=10 * MIB,
    append_only=True,
    append_ok=True,
    fsync="always",
    snapshot_ok=True,
    time=datetime(2026, 11, 26, 12, 0, tzinfo=UTC),
)


def judged(**changes: object) -> Mapping[str, Finding]:
    found = replace(GOOD, **changes)  # type: ignore[arg-type]  # the table below gives each its type
    return {each.what: each for each in redis.findings(found, cache_size=256 * MIB)}


def test_a_good_one_has_nothing_to_mend() -> None:
    rows = judged()
    assert {each.severity for each in rows.values()} == {OK}
    assert rows.keys() == {
        f"redis {name}" for name in ("version", "role", "eviction", "memory", "persistence")
    }


@pytest.mark.parametrize(
    ("product", "version", "severity"),
    [
        ("Redis", "6.2.20", FAIL),
        ("Redis", "7.0.15", WARN),
        ("Redis", "7.2.10", WARN),
        ("Redis", "7.2.11", OK),
        ("Redis", "8.4.0", OK),
        ("Redis", "8.6.2", WARN),
        ("Valkey", "7.2.14", OK),
        ("Valkey", "8.1.8", WARN),
        ("Valkey", "10.0.0", OK),
        ("Redis", "unknown", WARN),
    ],
)
def test_a_version_is_judged_by_its_series_and_patch(
    product: str, version: str, severity: Severity
) -> None:
    found = redis.version(product, version)
    assert found.severity is severity
    assert bool(found.mend) is (severity is not OK)


@pytest.mark.parametrize(
    ("changes", "what", "severity", "said"),
    [
        ({"mode": "cluster"}, "role", FAIL, "node of a cluster"),
        ({"role": "slave"}, "role", FAIL, "is a replica"),
        ({"policy": "allkeys-lru"}, "eviction", FAIL, "called and paid for again"),
        ({"policy": "volatile-ttl", "max_memory": 0}, "eviction", WARN, "no maxmemory yet"),
        ({"max_memory": 0}, "memory", WARN, "there is no bound"),
        ({"used_memory": 900 * MIB}, "memory", WARN, "a full one takes no jobs"),
        ({"max_memory": 400 * MIB}, "memory", WARN, "could find no room"),
        ({"append_only": False}, "persistence", FAIL, "since its last snapshot"),
        ({"append_only": False, "replicas": 1}, "persistence", WARN, "unless a replica"),
        ({"append_ok": False}, "persistence", FAIL, "last write to disk failed"),
        ({"fsync": "everysec"}, "persistence", OK, "the last second may be lost"),
        ({"fsync": "no"}, "persistence", WARN, "appendfsync no"),
        ({"fsync": None}, "persistence", OK, "is not shown"),
    ],
)
def test_what_would_cost_a_record_is_told(
    changes: dict[str, object], what: str, severity: Severity, said: str
) -> None:
    found = judged(**changes)[f"redis {what}"]
    assert found.severity is severity
    assert said in found.detail
    assert bool(found.mend) is (severity is not OK)


def test_a_redis_that_is_not_reached_makes_the_status_of_what_is_not_reachable() -> None:
    assert exit_status([failed(REDIS, "", "x")]) == 3
