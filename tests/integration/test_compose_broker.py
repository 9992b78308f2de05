"""The broker of docker-compose.yml, without its container: its configuration and its definitions, in a real node."""

import json
from pathlib import Path

import pytest

from stack import mounted
from stack.broker import BrokerFailed, find_server, start
from tests.conftest import ROOT

pytestmark = pytest.mark.broker


def test_a_node_takes_the_mounted_files_and_the_worker_logs_in_with_its_own(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    secrets, configuration = tmp_path / "secrets", tmp_path / "rabbitmq.conf"
    mounted.make(secrets)
    files = [ROOT / "rabbitmq/rabbitmq.conf", ROOT / "docker/rabbitmq.conf"]
    configuration.write_text("".join(file.read_text("utf-8") for file in files), "utf-8")
    release = request.config.getoption("--broker-release")
    server = find_server(ROOT / ".warren/servers", release=release)
    node = start(
        server,
        tmp_path / "node",
        definitions=secrets / "definitions.json",
        configuration=configuration,
        die_with_parent=True,
    )
    try:
        node.ctl("authenticate_user", "worker", (secrets / "worker-password").read_text("utf-8"))
        with pytest.raises(BrokerFailed):
            node.ctl("authenticate_user", "worker", "guess")
        told = node.ctl("environment")
        assert "{total_memory_available_override_value," in told
        queues = node.ctl("list_queues", "-p", "warren", "name", "--no-table-headers").split()
        wanted = json.loads((secrets / "definitions.json").read_text("utf-8"))["queues"]
        assert set(queues) == {queue["name"] for queue in wanted}
    finally:
        node.kill()
