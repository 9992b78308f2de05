"""The broker of docker-compose.yml: its configuration, its definitions and its health check, in a real node."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from stack import node
from stack.broker import Broker, BrokerFailed
from tests.monitoring.rules import RABBITMQ
from tests.packaging.compose import SERVICES
from tests.packaging.node import compose_node, metrics_port

pytestmark = pytest.mark.broker


def told(broker: Broker, page: str) -> set[str]:
    """Give the names of the metrics on a page of the node's, as Prometheus asks for it."""
    url = f"http://127.0.0.1:{metrics_port(broker)}{page}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return set(re.findall(r"^\w+", answer.read().decode(), re.MULTILINE))


def test_a_node_takes_the_mounted_files_is_healthy_tells_its_metrics_and_lets_the_worker_in(
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

        assert (
            told(broker, "/metrics")
            | told(
                broker,
                "/metrics/detailed?vhost=warren&family=queue_coarse_metrics&family=queue_consumer_count",
            )
            >= RABBITMQ
        )

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
