"""A cluster of three nodes with Warren's quorum topology, used as one virtual host is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stack import credentials
from stack.broker import BrokerNotFound, Server, find_server
from stack.cluster import Cluster, open_cluster
from tests.faults.vhost import QUORUM_DEFINITIONS, ROOT, Vhost

# Newest first: 4.3, with strict priorities, and 4.0.
RELEASES = ("sid", "trixie")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterVhost(Vhost):
    """The virtual host on all nodes: its URLs name each of them. What asks the management API asks `broker`."""

    cluster: Cluster

    def url(self, user: str) -> str:
        """Give the URL with every node's address."""
        password = quote(self.passwords[user], safe="")
        hosts = ",".join(f"127.0.0.1:{node.amqp_port}" for node in self.cluster.nodes)
        return f"amqp://{user}:{password}@{hosts}/{self.name}"

    def leader(self, queue: str) -> int | None:
        """Give the number of the node that leads a queue; None: none does just now."""
        found = self.api("GET", f"queues/{self.name}/{queue}")
        leader = found.get("leader") if isinstance(found, dict) else None
        names = [f"{node.name}@localhost" for node in self.cluster.nodes]
        return names.index(leader) if leader in names else None


@asynccontextmanager
async def open_cluster_vhost(
    folder: Path, *, release: str | None = None, net_tick_s: int = 60
) -> AsyncIterator[ClusterVhost]:
    """Start a cluster of that Debian release's RabbitMQ, or of the newest that can be had; it ends with the block."""
    server = await asyncio.to_thread(_server, release)
    passwords = credentials.ensure(
        folder / "credentials.json", credentials.user_names(QUORUM_DEFINITIONS)
    )
    definitions = folder / "definitions.json"
    credentials.write_definitions(QUORUM_DEFINITIONS, definitions, passwords)
    with ExitStack() as resources:
        cluster = await asyncio.to_thread(
            resources.enter_context,
            open_cluster(server, folder / "nodes", definitions=definitions, net_tick_s=net_tick_s),
        )
        yield ClusterVhost(
            broker=cluster.nodes[0],
            name="warren",
            passwords=passwords,
            queue_type="quorum",
            cluster=cluster,
        )


def _server(release: str | None) -> Server:
    releases = RELEASES if release is None else (release,)
    for each in releases:
        try:
            return find_server(ROOT / ".warren/servers", release=each)
        except BrokerNotFound:
            if each == releases[-1]:
                raise
    raise AssertionError(releases)
