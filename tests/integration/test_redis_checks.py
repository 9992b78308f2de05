"""Which servers a worker starts on, and what it says of them."""

from collections.abc import Iterator

import pytest

from tests.contract.redis_fleet import options_of
from tests.contract.world import Ear
from tests.faults.room import RedisRoom
from worker.clock import SystemClock
from worker.core.events import Trouble
from worker.errors import SettingsError
from worker.store.redis import checks
from worker.store.redis.store import RedisStore


@pytest.fixture
def configured(redis_room: RedisRoom) -> Iterator[RedisRoom]:
    """A room whose server's configuration the test may change."""
    yield redis_room
    for name, value in (("maxmemory-policy", "noeviction"), ("appendonly", "yes")):
        redis_room.redis.ask("CONFIG", "SET", name, value)


async def start(room: RedisRoom) -> list[str]:
    """Open and close a store; give the troubles that it told of."""
    ear = Ear()
    async with RedisStore(options_of(room), clock=SystemClock(), listener=ear):
        return [event.error for event in ear.heard if isinstance(event, Trouble)]


async def test_a_server_that_evicts_nothing_and_logs_every_write_is_taken_without_a_word(
    redis_room: RedisRoom,
) -> None:
    assert await start(redis_room) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused(configured: RedisRoom, policy: str) -> None:
    configured.redis.ask("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(SettingsError, match="set maxmemory-policy to noeviction"):
        await start(configured)


async def test_a_server_without_an_append_only_file_is_warned_about(configured: RedisRoom) -> None:
    configured.redis.ask("CONFIG", "SET", "appendonly", "no")
    (warning,) = await start(configured)
    assert "set appendonly to yes" in warning


async def test_keys_of_another_format_are_refused_and_left_alone(redis_room: RedisRoom) -> None:
    assert await start(redis_room) == []
    key = f"{{{redis_room.prefix}}}:format"
    redis_room.redis.ask("SET", key, "2")
    with pytest.raises(SettingsError, match="have format 2, this Warren knows 1"):
        await start(redis_room)
    assert redis_room.redis.ask("GET", key) == "2"


@pytest.mark.parametrize(
    ("facts", "problems"),
    [
        ({"redis_version": "6.2.14"}, ["take 7.0 or newer"]),
        ({"redis_version": "7.0.0"}, []),
        ({"redis_version": "10.1"}, []),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.4"}, []),
        ({"redis_version": "7.4.1", "cluster_enabled": "1"}, ["node of a cluster"]),
        ({"redis_version": "7.4.1", "maxmemory_policy": "allkeys-lfu"}, ["paid for again"]),
        ({"redis_version": "6.0", "cluster_enabled": "1"}, ["take 7.0", "node of a cluster"]),
    ],
)
def test_what_a_server_tells_decides(facts: dict[str, str], problems: list[str]) -> None:
    told = list(checks._problems(facts, "there:1"))
    assert len(told) == len(problems)
    assert all(problem in line for problem, line in zip(problems, told, strict=True))
