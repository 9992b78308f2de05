from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.stage import Stage, open_stage
from tests.faults.vhost import Vhost


@pytest.fixture
async def stage(vhost: Vhost, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(vhost, tmp_path) as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "stage" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.processes)
