"""The adapters under contract: a second one joins by a name and a fleet."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.redis_fleet import RedisPartsFleet
from tests.contract.world import EmbeddedFleet, Fleet, Worker
from worker.ports import Ledger

FLEETS: dict[str, Callable[[Path], Fleet]] = {"embedded": EmbeddedFleet}


@pytest.fixture(params=FLEETS)
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    built: Any = (
        RedisPartsFleet(request.getfixturevalue("redis_room"))
        if request.param == "redis"  # a Redis is started only for who asks for it
        else FLEETS[request.param](tmp_path)
    )
    yield built
    await built.close()


@pytest.fixture
async def worker(fleet: Fleet) -> Worker:
    return await fleet.join()


@pytest.fixture
def ledger(worker: Worker) -> Ledger:
    return worker.ledger
