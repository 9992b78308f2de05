"""The adapters under contract: a second one joins by a name and a fleet."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.contract.world import EmbeddedFleet, Fleet, Worker
from worker.ports import Ledger

FLEETS: dict[str, Callable[[Path], Fleet]] = {"embedded": EmbeddedFleet}


@pytest.fixture(params=FLEETS)
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    built = FLEETS[request.param](tmp_path)
    yield built
    await built.close()


@pytest.fixture
async def worker(fleet: Fleet) -> Worker:
    return await fleet.join()


@pytest.fixture
def ledger(worker: Worker) -> Ledger:
    return worker.ledger
