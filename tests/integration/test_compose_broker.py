"""The broker of docker-compose.yml: its configuration, its definitions and its health check, in a real node."""

import json
import subprocess
from pathlib import Path

import pytest

from stack import node
from stack.broker import BrokerFailed
from tests.packaging.compose import SERVICES
from tests.packaging.node import compose_node

pytestmark = pytest.mark.broker


def test_a_node_takes_the_mounted_files_is_healthy_and_lets_the_worker_in(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with compose_node(tmp_path, release=request.config.getoption("--broker-release")) as broker:
        secrets = tmp_path / "secrets"
        password = (secrets / "worker-password").read_text("utf-8")
        broker.ctl("authenticate_user", "worker", password)
        with pytest.raises(BrokerFailed):
            broker.ctl("authenticate_user", "worker", "guess")
        assert "{total_memory_available_override_value," in broker.ctl("environment")
        queues = broker.ctl("list_queues", "-p", "warren", "name", "--no-table-headers").split()
        wanted = json.loads((secrets / "definitions.json").read_text("utf-8"))["queues"]
        assert set(queues) == {queue["name"] for queue in wanted}

        record = node.read_record(broker.folder)
        assert record is not None
        _, tool, *arguments = SERVICES["rabbitmq"]["healthcheck"]["test"]
        subprocess.run(
            [str(node.scripts(record.server) / tool), *arguments],
            env=node.environment(broker.folder, record),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
