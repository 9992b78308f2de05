"""Real processes on one file: their races, their deaths, and what a death leaves behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import apsw
import pytest

from tests.contract.world import Ear, as_ended, make_job
from worker.clock import SystemClock
from worker.core.letters import Selection
from worker.core.model import Follow, Started, State
from worker.store.embedded import EmbeddedArchive, EmbeddedStore

ROOT = Path(__file__).parents[4]
CHILD = "tests.unit.worker.store.child"
ENOUGH_S = 60

pytestmark = pytest.mark.processes


@asynccontextmanager
async def child(mode: str, path: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", CHILD, mode, str(path), stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    try:
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
    process.stdin.write(text.encode())


def open_store(path: Path) -> EmbeddedStore:
    return EmbeddedStore(path, clock=SystemClock(), listener=Ear())


async def test_a_claim_is_held_while_its_process_lives_and_free_when_it_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warren.db"
    async with child("hold", path) as holder, open_store(path) as store:
        assert await line(holder) == "Started"
        assert isinstance(await store.ledger.begin(make_job(), max_attempts=9), Follow)
        holder.kill()
        await holder.wait()
        begun = await store.ledger.begin(make_job(), max_attempts=9)
        assert isinstance(begun, Started)
        assert begun.attempt == 2


async def test_a_stopped_process_keeps_its_claim_within_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "warren.db"
    async with child("hold", path) as holder, open_store(path) as store:
        assert await line(holder) == "Started"
        holder.send_signal(signal.SIGSTOP)
        assert isinstance(await store.ledger.begin(make_job(), max_attempts=9), Follow)
        await store.sweep()
        assert isinstance(await store.ledger.begin(make_job(), max_attempts=9), Follow)


async def test_of_two_processes_that_begin_one_fingerprint_only_one_calls_at_a_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warren.db"
    async with child("contend", path) as one, child("contend", path) as two:
        assert [await line(one), await line(two)] == ["500", "500"]
        assert [await one.wait(), await two.wait()] == [0, 0]
    letters = EmbeddedArchive(path).letters(Selection())
    assert len(letters) == 1000
    assert {letter.attempts for letter in letters} == {1}


async def test_a_killed_process_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "warren.db"
    recorded: list[str] = []
    for _ in range(3):
        async with child("load", path) as worker:
            recorded += [await line(worker) for _ in range(200)]
            os.kill(worker.pid, signal.SIGKILL)
            rest, _ = await worker.communicate()
            recorded += rest.decode().split("\n")[:-1]
    async with open_store(path) as store:
        for key in recorded:
            ended = as_ended(await store.ledger.find(make_job(key)))
            assert ended.record.state is State.COMPLETED
            assert ended.record.outcome is not None
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


async def test_processes_that_open_a_fresh_path_at_the_same_time_all_work(tmp_path: Path) -> None:
    path = tmp_path / "new" / "warren.db"
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(child("open", path)) for _ in range(6)]
        for process in crowd:
            assert await line(process) == "ready"
        for process in crowd:
            tell(process, "go\n")
        assert [await line(process) for process in crowd] == ["Ended"] * 6
        assert [await process.wait() for process in crowd] == [0] * 6
