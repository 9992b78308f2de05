import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stack.broker import Broker
from tests.acceptance.composed import Host, open_host, running
from tests.faults.stage import Stage, open_stage
from tests.faults.vhost import Vhost
from tests.packaging.node import compose_node


@pytest.fixture
async def stage(vhost: Vhost, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(vhost, tmp_path) as made:
        yield made


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Broker]:
    """The compose file's broker."""
    with compose_node(tmp_path) as broker:
        yield broker


@pytest.fixture
def host(tmp_path: Path, node: Broker) -> Host:
    return open_host(tmp_path, node)


@pytest.fixture
def services(host: Host) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The compose file's simulator and worker, healthy."""
    with running(host) as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "stage" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.processes)
