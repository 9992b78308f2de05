"""What `warren doctor` finds at a real Redis."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.faults.room import RedisRoom
from tests.unit.worker.settings_samples import Folder, having
from worker.cli.doctor.finding import Finding, Severity
from worker.cli.doctor.stored import store_findings

OK, WARN, FAIL = Severity


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("doctor"))


def looked(folder: Folder, room: RedisRoom, password: str | None = None) -> Mapping[str, Finding]:
    lines = (
        f'url = "{room.url}"',
        f'password = "{password or room.password}"',
        'cache_max_size = "64MiB"',
    )
    settings = folder.load(having("store", *lines))
    found = {each.what: each for each in store_findings(settings.store)}
    assert room.password not in str(found)
    return found


@contextmanager
def planted(room: RedisRoom, setting: str, value: str) -> Iterator[None]:
    """Change a setting of the server for a while."""
    before = room.redis.ask("CONFIG", "GET", setting)
    assert isinstance(before, list)
    room.redis.ask("CONFIG", "SET", setting, value)
    try:
        yield
    finally:
        room.redis.ask("CONFIG", "SET", setting, str(before[1]))


def test_a_private_one_has_an_old_version_at_most(folder: Folder, redis_room: RedisRoom) -> None:
    rows = looked(folder, redis_room)
    assert {what for what, each in rows.items() if each.severity is not OK} <= {"redis version"}
    assert "clock of Redis" in rows
    assert redis_room.redis.version in rows["redis version"].detail


@pytest.mark.parametrize(
    ("setting", "value", "what", "severity"),
    [
        ("maxmemory-policy", "allkeys-lru", "redis eviction", FAIL),
        ("maxmemory", "0", "redis memory", WARN),
        ("maxmemory", "100mb", "redis memory", WARN),
        ("appendonly", "no", "redis persistence", FAIL),
        ("appendfsync", "no", "redis persistence", WARN),
    ],
)
def test_a_planted_fault_is_found(
    folder: Folder, redis_room: RedisRoom, setting: str, value: str, what: str, severity: Severity
) -> None:
    with planted(redis_room, setting, value):
        assert looked(folder, redis_room)[what].severity is severity


def test_a_wrong_password_is_told_and_not_shown(folder: Folder, redis_room: RedisRoom) -> None:
    (only,) = looked(folder, redis_room, password="canary-guess").values()
    assert (only.what, only.severity) == ("redis", FAIL)
    assert "does not let us in" in only.detail
    assert "canary-guess" not in str(only)


def test_one_that_is_not_there_is_told_with_its_address(folder: Folder) -> None:
    settings = folder.load(having("store", 'url = "redis://127.0.0.1:1/0"', 'timeout = "1s"'))
    (only,) = store_findings(settings.store)
    assert "127.0.0.1:1" in only.detail
    assert "cannot be reached" in only.detail
