import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from stack import credentials, node, occupancy
from stack.broker import Broker, BrokerFailed, Server, find_server, running, start

pytestmark = pytest.mark.broker

_ROOT = Path(__file__).parents[2]
_DEFINITIONS = _ROOT / "rabbitmq/definitions.json"


@pytest.fixture(scope="module")
def server() -> Server:
    return find_server(_ROOT / ".warren/servers")


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("private") / "credentials.json"
    return credentials.ensure(path, credentials.user_names(_DEFINITIONS))


@pytest.fixture(scope="module")
def broker(
    server: Server, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    # A space in its path, as in many a person's home.
    folder = tmp_path_factory.mktemp("a broker")
    filled = folder / "filled.json"
    credentials.write_definitions(_DEFINITIONS, filled, passwords)
    broker = start(server, folder / "the node", definitions=filled, die_with_parent=True)
    yield broker
    broker.kill()


def _api(
    broker: Broker, login: tuple[str, str], path: str, body: object = None, *, method: str = ""
) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", broker.http_port, timeout=10)
    try:
        token = base64.b64encode(":".join(login).encode()).decode()
        connection.request(
            method or ("GET" if body is None else "PUT"),
            f"/api/{path}",
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def _gone(broker: Broker) -> bool:
    """Tell whether the node's process group is empty, ended but unreaped members aside."""
    group = int((broker.folder / "keeper.pid").read_text(encoding="utf-8"))

    def is_empty() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    return occupancy.wait_until(is_empty, 20)


def test_the_topology_is_there_when_start_returns(broker: Broker) -> None:
    definitions = json.loads(_DEFINITIONS.read_text(encoding="utf-8"))

    queues = broker.ctl("list_queues", "-p", "warren", "name", "policy", "--no-table-headers")

    policies = dict(line.split("\t") for line in queues.splitlines())
    assert policies.keys() == {queue["name"] for queue in definitions["queues"]}
    assert policies["warren.jobs.premium.interactive"] == ""
    assert policies["warren.quarantine"] == "warren-quarantine"


@pytest.mark.parametrize(("user", "status"), [("admin", 200), ("operator", 200), ("producer", 401)])
def test_only_who_looks_after_the_broker_has_the_management_api(
    broker: Broker, passwords: dict[str, str], user: str, status: int
) -> None:
    assert _api(broker, (user, passwords[user]), "whoami")[0] == status


@pytest.mark.parametrize("user", ["producer", "worker", "operator", "admin"])
def test_a_user_logs_in_with_the_generated_password_and_no_other(
    broker: Broker, passwords: dict[str, str], user: str
) -> None:
    broker.ctl("authenticate_user", user, passwords[user])

    with pytest.raises(BrokerFailed, match="authenticate_user failed"):
        broker.ctl("authenticate_user", user, "guess")


def test_nobody_logs_in_as_a_user_with_the_committed_empty_hash(
    broker: Broker, passwords: dict[str, str]
) -> None:
    admin = ("admin", passwords["admin"])
    user = json.loads(_DEFINITIONS.read_text(encoding="utf-8"))["users"][0]
    created = {**user, "tags": "administrator"}
    assert _api(broker, admin, "users/committed", created)[0] == 201

    assert _api(broker, ("committed", ""), "whoami")[0] == 401
    assert _api(broker, ("guest", "guest"), "whoami")[0] == 401


def test_a_node_listens_on_one_loopback_address_only(broker: Broker) -> None:
    record = node.read_record(broker.folder)
    assert record is not None
    ports = record.ports

    for port in (ports.amqp, ports.http, ports.dist, ports.epmd):
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        # Whoever listens on every address answers here too.
        with pytest.raises(OSError, match=r"refused|assign|unreachable|timed out"):
            socket.create_connection(("127.0.0.2", port), timeout=1)


def test_a_second_node_in_the_same_folder_is_refused(broker: Broker, server: Server) -> None:
    with pytest.raises(BrokerFailed, match="already runs"):
        start(server, broker.folder, definitions=None)

    assert running(broker.folder) == broker


def test_a_killed_node_comes_back_with_its_durable_queue_and_a_stopped_one_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    first = start(server, tmp_path, definitions=None, die_with_parent=True)
    guest = ("guest", "guest")
    assert _api(first, guest, "queues/%2F/kept", {"durable": True})[0] == 201
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": "kept",
        "payload": "hello",
        "payload_encoding": "string",
    }
    publish = "exchanges/%2F/amq.default/publish"
    assert _api(first, guest, publish, message, method="POST") == (200, {"routed": True})
    # The queue's own definition is written up to two seconds later: a crash may take a queue that is so young.
    first.ctl("eval", "catch mnesia:sync_log().")

    first.kill()
    assert running(tmp_path) is None
    assert _gone(first)

    second = start(server, tmp_path, definitions=None, die_with_parent=True)
    assert second == first  # the ports too, so that clients find it again
    assert "kept\t1" in second.ctl("list_queues", "name", "messages")

    second.stop()
    assert running(tmp_path) is None
    assert _gone(second)
    second.stop()


def test_a_node_dies_with_the_process_that_started_it(server: Server, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stack.broker import *\n"
        "server = Server(scripts=Path(sys.argv[2]), erlang=Path(sys.argv[3]), version='0.0')\n"
        "start(server, Path(sys.argv[1]), definitions=None, die_with_parent=True)\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(server.scripts), str(server.erlang)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        broker = running(tmp_path)
        assert broker is not None
        parent.send_signal(signal.SIGKILL)

    assert occupancy.wait_until(lambda: running(tmp_path) is None, 20)
    assert _gone(broker)


def test_a_node_that_cannot_start_tells_why_and_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    configuration = tmp_path / "wrong.conf"
    configuration.write_text("no_such_setting = 1\n", encoding="utf-8")

    with pytest.raises(BrokerFailed, match="no_such_setting"):
        start(server, tmp_path / "node", definitions=None, configuration=configuration)

    assert running(tmp_path / "node") is None
