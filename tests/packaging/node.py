"""The compose file's broker without its container: a real node, with the files that the container would read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import mounted
from stack.broker import Broker, find_server, start
from stack.services import free_port
from tests.faults.vhost import ROOT


@contextmanager
def compose_node(folder: Path, *, release: str | None = None) -> Iterator[Broker]:
    """Make secrets in `folder`/secrets and run a node with them; it goes with the test, or with its process."""
    secrets, configuration = folder / "secrets", folder / "rabbitmq.conf"
    mounted.make(secrets)
    # Elsewhere than in the container: other nodes run on this machine.
    metrics = f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {free_port()}\n"
    files = [ROOT / "rabbitmq/rabbitmq.conf", ROOT / "docker/rabbitmq.conf"]
    configuration.write_text("".join(file.read_text("utf-8") for file in files) + metrics, "utf-8")
    broker = start(
        find_server(ROOT / ".warren/servers", release=release),
        folder / "node",
        definitions=secrets / "definitions.json",
        configuration=configuration,
        plugins=(ROOT / "docker/enabled_plugins").read_text("utf-8"),
        die_with_parent=True,
    )
    try:
        yield broker
    finally:
        broker.kill()


def metrics_port(broker: Broker) -> int:
    """Give the port on which such a node tells its metrics."""
    told = (broker.folder / "etc/rabbitmq.conf").read_text("utf-8")
    (port,) = re.findall(r"^prometheus\.tcp\.port = (\d+)$", told, re.MULTILINE)
    return int(port)
