"""A virtual host with Warren's topology on a private broker: what one test or experiment has to itself."""

import json
import os
import secrets
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from producer_sdk.wire import QueueType
from stack.broker import Broker
from worker.broker.rights import permissions, topic_permissions

ROOT = Path(__file__).parent.parent.parent
DEFINITIONS = ROOT / "rabbitmq/definitions.json"
QUORUM_DEFINITIONS = ROOT / "rabbitmq/definitions-quorum.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vhost:
    """A virtual host with Warren's topology and its users' permissions."""

    broker: Broker
    name: str
    passwords: dict[str, str]
    queue_type: QueueType = "classic"

    def url(self, user: str) -> str:
        password = quote(self.passwords[user], safe="")
        return f"amqp://{user}:{password}@127.0.0.1:{self.broker.amqp_port}/{self.name}"

    @property
    def management(self) -> str:
        admin = quote(self.passwords["admin"], safe="")
        return f"http://admin:{admin}@127.0.0.1:{self.broker.http_port}"

    def api(self, method: str, path: str, body: object | None = None) -> object:
        """Ask the management API as the administrator."""
        token = b64encode(f"admin:{self.passwords['admin']}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.broker.http_port}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Basic {token}", "content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_tenant(self, name: str) -> None:
        """Make one more producer, who may do here what every producer may."""
        self.passwords[name] = secrets.token_hex(16)
        self.api("PUT", f"users/{name}", {"password": self.passwords[name], "tags": ""})
        (may,) = (each for each in permissions([name]) if each.user == name)
        rights = {"configure": may.configure, "write": may.write, "read": may.read}
        self.api("PUT", f"permissions/{self.name}/{name}", rights)
        for each in topic_permissions([name]):
            routes = {"exchange": each.exchange, "write": each.write, "read": each.read}
            self.api("PUT", f"topic-permissions/{self.name}/{name}", routes)

    def depths(self) -> dict[str, int]:
        """Give how many messages lie in each queue, ready or handed out."""
        listed = self.broker.ctl(
            "list_queues", "-p", self.name, "name", "messages", "--no-table-headers"
        )
        rows = [line.split() for line in listed.splitlines()]
        return {name: int(count) for name, count in rows}

    def close_connections(self, user: str) -> int:
        """Cut the user's connections to this virtual host; gives how many there were."""
        listed = self.broker.ctl(
            "list_connections", "pid", "user", "vhost", "--no-table-headers"
        ).splitlines()
        mine = [line.split()[0] for line in listed if line.split()[1:] == [user, self.name]]
        for pid in mine:
            self.broker.ctl("close_connection", pid, "test")
        return len(mine)


@contextmanager
def open_vhost(
    broker: Broker, passwords: Mapping[str, str], *, queue_type: QueueType = "classic"
) -> Iterator[Vhost]:
    """Make a virtual host for as long as it is needed."""
    name = f"t{os.getpid()}-{secrets.token_hex(4)}"
    made = Vhost(broker=broker, name=name, passwords=dict(passwords), queue_type=queue_type)
    definitions = DEFINITIONS if queue_type == "classic" else QUORUM_DEFINITIONS
    wanted = json.loads(definitions.read_text(encoding="utf-8"))
    for section in (
        "exchanges",
        "queues",
        "bindings",
        "policies",
        "permissions",
        "topic_permissions",
    ):
        for item in wanted[section]:
            item["vhost"] = made.name
    wanted["vhosts"] = [{"name": made.name}]
    del wanted["users"]
    made.api("POST", "definitions", wanted)
    try:
        yield made
    finally:
        made.api("DELETE", f"vhosts/{made.name}")
