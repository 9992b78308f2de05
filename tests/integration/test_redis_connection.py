"""The connection to a real Redis: what breaks, what is repeated, what is told."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.redis_fleet import options_of
from tests.faults.room import RedisRoom
from tests.integration.cutter import Cutter
from worker.errors import StoreUnavailable
from worker.store.redis.connection import RedisConnection
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script

ECHO = Script.of("return ARGV[1]")
COUNT = Script.of("return redis.call('INCR', KEYS[1] .. ':count')")


@pytest.fixture
async def connection(redis_room: RedisRoom) -> AsyncIterator[RedisConnection]:
    made = RedisConnection(options_of(redis_room))
    await made.open()
    yield made
    await made.close()


async def connections_made(connection: RedisConnection) -> int:
    told = (await connection.command("INFO", "stats")).decode()
    return int(told.partition("total_connections_received:")[2].splitlines()[0])


async def test_answers_come_to_those_who_asked_in_the_order_in_which_they_asked(
    connection: RedisConnection,
) -> None:
    many = [connection.run(ECHO, str(number)) for number in range(1000)]
    assert await asyncio.gather(*many) == [str(number).encode() for number in range(1000)]


async def test_a_cancelled_caller_leaves_the_connection_to_the_others_whole(
    connection: RedisConnection,
) -> None:
    before = await connections_made(connection)
    for turns in range(6):
        cancelled = asyncio.create_task(connection.run(ECHO, "lost"))
        other = asyncio.create_task(connection.run(ECHO, "kept"))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        assert await other == b"kept"
    assert await connection.run(ECHO, "last") == b"last"
    assert await connections_made(connection) == before


async def test_a_connection_that_the_server_closed_is_made_anew_and_nobody_notices(
    connection: RedisConnection, redis_room: RedisRoom
) -> None:
    assert await connection.run(COUNT) == 1
    redis_room.redis.ask("CLIENT", "KILL", "TYPE", "normal")
    counted = await asyncio.gather(*(connection.run(COUNT) for _ in range(100)))
    assert counted == list(range(2, 102))


async def test_an_answer_that_was_lost_is_asked_for_once_more(redis_room: RedisRoom) -> None:
    async with Cutter(redis_room.redis.port) as cutter:
        url = f"redis://127.0.0.1:{cutter.port}/0"
        connection = RedisConnection(replace(options_of(redis_room), url=url))
        await connection.open()
        assert await connection.run(COUNT) == 1
        cutter.answers_to_lose = 1
        assert await connection.run(COUNT) == 3  # the second came to the server twice
        cutter.answers_to_lose = 2
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await connection.run(COUNT)
        assert await connection.run(COUNT) == 6
        await connection.close()


async def test_scripts_are_loaded_again_after_a_flush_and_after_a_restart(
    connection: RedisConnection,
    redis_room: RedisRoom,
    restart_redis: Callable[[], object],
) -> None:
    assert await connection.run(ECHO, "1") == b"1"
    redis_room.redis.ask("SCRIPT", "FLUSH")
    many = [connection.run(script, "2") for script in (ECHO, COUNT) for _ in range(10)]
    assert await asyncio.gather(*many) == [b"2"] * 10 + list(range(1, 11))
    await asyncio.to_thread(restart_redis)
    assert await connection.run(ECHO, "3") == b"3"
    assert await connection.run(COUNT) == 11


async def test_a_server_that_does_not_answer_is_unavailable_in_time_and_then_works_again(
    redis_room: RedisRoom,
) -> None:
    options = replace(options_of(redis_room), timeout=timedelta(milliseconds=200))
    connection = RedisConnection(options)
    await connection.open()
    redis_room.redis.send(signal.SIGSTOP)
    try:
        many = [connection.run(ECHO, "1") for _ in range(300)]
        told = await asyncio.wait_for(asyncio.gather(*many, return_exceptions=True), 5)
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            await asyncio.wait_for(connection.run(ECHO, "1"), 5)
    finally:
        redis_room.redis.send(signal.SIGCONT)
    assert {type(each) for each in told} == {StoreUnavailable}
    assert await connection.run(ECHO, "2") == b"2"
    await connection.close()


async def test_a_server_that_has_become_a_replica_takes_no_writes_and_says_so(
    connection: RedisConnection, redis_room: RedisRoom
) -> None:
    assert await connection.run(COUNT) == 1
    redis_room.redis.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="it is a replica now"):
            await connection.run(COUNT)
    finally:
        redis_room.redis.ask("REPLICAOF", "NO", "ONE")
    assert await connection.run(COUNT) == 2


async def test_a_server_without_memory_takes_no_writes_and_says_so(
    connection: RedisConnection, redis_room: RedisRoom
) -> None:
    redis_room.redis.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="raise its `maxmemory`"):
            await connection.run(COUNT)
        assert await connection.run(ECHO, "1") == b"1"
    finally:
        redis_room.redis.ask("CONFIG", "SET", "maxmemory", "512mb")
    assert await connection.run(COUNT) == 1


async def test_a_mistake_in_a_script_is_no_outage(connection: RedisConnection) -> None:
    wrong = Script.of("redis.call('SET', KEYS[1], '1') return redis.call('LPUSH', KEYS[1], '2')")
    with pytest.raises(Exception, match="WRONGTYPE") as told:
        await connection.run(wrong)
    assert not isinstance(told.value, StoreUnavailable)


@pytest.mark.parametrize("password", [None, "wrong-password"])
async def test_a_wrong_password_is_told_and_not_shown(
    redis_room: RedisRoom, password: str | None
) -> None:
    connection = RedisConnection(replace(options_of(redis_room), password=password))
    with pytest.raises(StoreUnavailable, match="check user, password") as told:
        await connection.open()
    assert "wrong-password" not in str(told.value)
    assert "wrong-password" not in repr(connection.options)


async def test_where_nobody_listens_the_store_is_unavailable() -> None:
    connection = RedisConnection(RedisOptions(url="redis://127.0.0.1:1/0"))
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await connection.open()
    with pytest.raises(StoreUnavailable, match="is closed"):
        await connection.run(ECHO, "1")


async def test_closing_leaves_nobody_waiting_also_where_a_script_has_to_be_loaded(
    redis_room: RedisRoom,
) -> None:
    connection = RedisConnection(options_of(redis_room))
    await connection.open()
    redis_room.redis.ask("SCRIPT", "FLUSH")
    running = connection.submit(ECHO, "1")
    while not connection._sent:  # noqa: ASYNC110  # nobody tells that it is on its way
        await asyncio.sleep(0)
    await connection.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await asyncio.wait_for(running, 5)


async def test_closing_does_not_look_for_a_server_that_does_not_answer(
    redis_room: RedisRoom,
) -> None:
    connection = RedisConnection(replace(options_of(redis_room), timeout=timedelta(seconds=1)))
    await connection.open()
    redis_room.redis.send(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await connection.run(ECHO, "1")
        async with asyncio.timeout(0.5):
            await connection.close()
    finally:
        redis_room.redis.send(signal.SIGCONT)
