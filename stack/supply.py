"""Gives a house its broker, by the first way that there is; see `ways`."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from stack import broker as brokers
from stack import container, external, ways

SERVERS = Path(__file__).parent.parent / ".warren/servers"

Tell = Callable[[str], None]


def supply(folder: Path, password: str, definitions: Path, tell: Tell) -> tuple[str, str, str]:
    """Give AMQP address, management address and a name to show, of a broker that holds the definitions.

    `password` is the one that they have for the administrator. What runs already is kept.

    Raises:
        StackError: there is no way to a broker, or it did not come up.
    """
    if given := os.environ.get("RABBITMQ_URL"):
        tell("using the broker of RABBITMQ_URL")
        where = external.prepare(given, os.environ.get("RABBITMQ_MANAGEMENT_URL"), definitions)
        return where.amqp, where.management, "the broker of RABBITMQ_URL"
    node = brokers.running(folder / "broker")
    if node is None:
        server = _server(folder)
        if server is None:
            return _contained(folder, password, definitions, tell)
        tell(f"starting RabbitMQ {server.version}")
        node = brokers.start(server, folder / "broker", definitions=definitions)
    return (
        f"127.0.0.1:{node.amqp_port}",
        f"127.0.0.1:{node.http_port}",
        f"RabbitMQ {node.version}, a private node",
    )


def _server(folder: Path) -> brokers.Server | None:
    """Give a RabbitMQ to run; None: docker is the way.

    Raises:
        StackError: there is neither.
    """
    if container.running(folder / "broker") is not None:
        return None
    facts = ways.look(SERVERS)
    if ways.way(facts) is ways.Way.DOCKER:
        return None
    try:
        return brokers.find_server(SERVERS)
    except brokers.BrokerNotFound:
        if ways.way(ways.without_packages(facts)) is ways.Way.DOCKER:
            return None
        raise


def _contained(folder: Path, password: str, definitions: Path, tell: Tell) -> tuple[str, str, str]:
    """Give the addresses of a broker in a container, as `supply` does."""
    found = container.running(folder / "broker")
    if found is None:
        tell(f"starting {container.IMAGE} in docker, which may have to fetch it first")
        found = container.start(folder / "broker", user="admin", password=password)
    user = f"admin:{quote(password, safe='')}"
    amqp, management = f"127.0.0.1:{found.amqp_port}", f"127.0.0.1:{found.http_port}"
    external.prepare(f"amqp://{user}@{amqp}", f"http://{user}@{management}", definitions)
    return amqp, management, f"{container.IMAGE}, the container {found.name}"
