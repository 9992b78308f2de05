"""The adapters under contract: a second one joins by a name and a fleet."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.contract.redis_fleet import RedisFleet
from tests.contract.world import EmbeddedFleet, Fleet, Worker
from worker.ports import Ledger

ADAPTERS = ("embedded", "redis")


@pytest.fixture(params=ADAPTERS)
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Fleet]:
    """What founds a fleet on a fresh store; a Redis is started only for who asks for it."""
    numbers = count()
    if request.param == "redis":
        room = request.getfixturevalue("redis_room")
        return lambda: RedisFleet(replace(room, prefix=f"{room.prefix}-{next(numbers)}"))
    return lambda: EmbeddedFleet(tmp_path / str(next(numbers)))


@pytest.fixture
async def fleet(found: Callable[[], Fleet]) -> AsyncIterator[Fleet]:
    founded = found()
    yield founded
    await founded.close()


@pytest.fixture
async def worker(fleet: Fleet) -> Worker:
    return await fleet.join()


@pytest.fixture
def ledger(worker: Worker) -> Ledger:
    return worker.ledger
