"""Real processes on one Redis: their races, their deaths, and what a death leaves behind."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.redis_fleet import options_of
from tests.contract.world import ANSWER, DONE, ONE_CALL, Ear, as_ended, make_job
from tests.faults.room import RedisRoom
from tests.faults.vhost import ROOT
from worker.clock import SystemClock
from worker.core.model import Follow, Started
from worker.store.redis.archive import RedisArchive
from worker.store.redis.store import RedisStore

CHILD = "tests.integration.redis_child"
PROCESSES = 4
LEASE_S = 3
ENOUGH_S = 60

pytestmark = pytest.mark.processes


@asynccontextmanager
async def child(mode: str, room: RedisRoom) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", CHILD, mode, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    given = {
        "url": room.url,
        "password": room.password,
        "prefix": room.prefix,
        "lease_s": LEASE_S,
    }
    try:
        tell(process, json.dumps(given))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), ENOUGH_S)).decode().strip()


def tell(process: Process, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n".encode())


@asynccontextmanager
async def own_store(room: RedisRoom) -> AsyncIterator[RedisStore]:
    lease = timedelta(seconds=LEASE_S)
    options = replace(options_of(room), lease=lease, renew_every=lease / 5)
    async with RedisStore(options, clock=SystemClock(), listener=Ear()) as store:
        yield store


async def taken_over(store: RedisStore) -> object:
    """Begin the job as soon as nobody alive calls for it."""
    job = make_job()
    await store.ledger.released(job.claim_key, at_most=timedelta(seconds=ENOUGH_S))
    return await store.ledger.begin(job, max_attempts=9)


async def test_of_processes_that_begin_one_job_at_the_same_time_one_starts_it_once(
    redis_room: RedisRoom,
) -> None:
    async with AsyncExitStack() as stack:
        racing = [
            await stack.enter_async_context(child("contend", redis_room)) for _ in range(PROCESSES)
        ]
        assert [await line(each) for each in racing] == ["ready"] * PROCESSES
        for each in racing:
            tell(each, "go")
        assert sorted([await line(each) for each in racing]) == ["0", "0", "0", "1"]
    told = RedisArchive(options_of(redis_room)).explain(make_job().id)
    assert told is not None
    assert told.tally.attempts == 1


async def test_a_killed_process_keeps_its_claim_for_its_lease_and_not_longer(
    redis_room: RedisRoom,
) -> None:
    async with child("hold", redis_room) as holder, own_store(redis_room) as store:
        assert await line(holder) == "Started"
        holder.kill()
        await holder.wait()
        begun = await store.ledger.begin(make_job(), max_attempts=9)
        assert begun == Follow(leader=make_job().id)
        later = await taken_over(store)
        assert isinstance(later, Started)
        assert later.attempt == 2


async def test_a_process_that_wakes_after_its_lease_finds_its_claim_lost(
    redis_room: RedisRoom,
) -> None:
    async with child("hold", redis_room) as holder, own_store(redis_room) as store:
        assert await line(holder) == "Started"
        holder.send_signal(signal.SIGSTOP)
        try:
            assert isinstance(await taken_over(store), Started)
        finally:
            holder.send_signal(signal.SIGCONT)
        assert await store.ledger.holds(make_job())
        told = await store.ledger.end(make_job(), ANSWER, DONE, work=ONE_CALL, claimed=True)
        assert as_ended(told).record.tally.attempts == 2


async def test_a_process_that_ends_in_peace_frees_its_claim_at_once(redis_room: RedisRoom) -> None:
    async with child("hold", redis_room) as holder, own_store(redis_room) as store:
        assert await line(holder) == "Started"
        assert holder.stdin is not None
        holder.stdin.close()
        await asyncio.wait_for(holder.wait(), ENOUGH_S)
        assert isinstance(await store.ledger.begin(make_job(), max_attempts=9), Started)
