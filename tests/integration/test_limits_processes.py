"""Real processes at one meter: they share its limit, also when one of them dies."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.vhost import ROOT

PROCESSES = 4
ENOUGH_S = 60

pytestmark = pytest.mark.processes


@pytest.fixture(params=["embedded", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """Where the store is, as the child wants it told."""
    if request.param == "embedded":
        return {"path": str(tmp_path / "store" / "warren.db")}
    room = request.getfixturevalue("redis_room")
    return {"url": room.url, "password": room.password, "prefix": room.prefix}


@asynccontextmanager
async def child(place: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.limits_child", stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    try:
        tell(process, json.dumps(dict(place)))
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


async def test_of_processes_that_take_at_the_same_time_as_many_get_as_the_limit_has(
    place: Mapping[str, str],
) -> None:
    async with AsyncExitStack() as stack:
        racing = [await stack.enter_async_context(child(place)) for _ in range(PROCESSES)]
        assert [await line(each) for each in racing] == ["ready"] * PROCESSES
        for each in racing:
            tell(each, "go")
        assert sorted([await line(each) for each in racing]) == ["0", "0", "0", "1"]


async def test_what_a_killed_process_has_taken_stays_counted(place: Mapping[str, str]) -> None:
    for got in ("1", "0"):
        async with child(place) as process:
            assert await line(process) == "ready"
            tell(process, "go")
            assert await line(process) == got
            process.kill()
            await process.wait()
