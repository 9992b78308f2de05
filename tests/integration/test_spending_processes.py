"""Real processes that spend from one budget at the same time."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from decimal import Decimal
from pathlib import Path

import pytest

from tests.contract.redis_fleet import options_of
from tests.faults.vhost import ROOT
from worker.core.money import plus
from worker.ports import SpendBook
from worker.store.embedded.spend import EmbeddedSpendBook
from worker.store.redis.spend import RedisSpendBook

CHILD = "tests.integration.spending_child"
PROCESSES = 8
ENOUGH_S = 60

pytestmark = pytest.mark.processes


@pytest.fixture(params=["embedded", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], SpendBook]:
    """Where the processes find their store, and its books."""
    if request.param == "embedded":
        path = tmp_path / "store" / "warren.db"
        return {"path": str(path)}, EmbeddedSpendBook(path)
    room = request.getfixturevalue("redis_room")
    given = {"url": room.url, "password": room.password, "prefix": room.prefix}
    return given, RedisSpendBook(options_of(room))


async def started(given: dict[str, str], *arguments: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", CHILD, *arguments, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    tell(process, json.dumps(given))
    return process


def tell(process: Process, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n".encode())


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), ENOUGH_S)).decode().strip()


async def spent_by(processes: list[Process]) -> Decimal:
    """Let all begin at once, and give what they have spent together by their own counts."""
    try:
        assert {await line(each) for each in processes} == {"ready"}
        for each in processes:
            tell(each, "go")
        total = Decimal(0)
        for text in [await line(each) for each in processes]:
            total = plus(total, Decimal(text))
        return total
    finally:
        for each in processes:
            if each.returncode is None:
                each.kill()
            await each.communicate()


async def test_eight_processes_never_spend_more_than_their_budget(
    place: tuple[dict[str, str], SpendBook],
) -> None:
    given, book = place
    total = await spent_by([await started(given, str(seed)) for seed in range(PROCESSES)])
    (standing,) = book.standing()
    assert (standing.spent, standing.reserved) == (total, Decimal(0))
    assert Decimal("0.9") < total <= 1


async def test_what_processes_that_died_may_have_spent_is_spent_by_nobody_else(
    place: tuple[dict[str, str], SpendBook],
) -> None:
    given, book = place
    dying = [await started(given, str(seed), "die") for seed in range(2)]
    living = [await started(given, str(seed)) for seed in range(2, 5)]
    total = await spent_by([*dying, *living])
    (standing,) = book.standing()
    assert standing.reserved > 0
    assert standing.spent < total
    assert total <= standing.spent + standing.reserved <= 1
