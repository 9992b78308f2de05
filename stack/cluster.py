"""A private RabbitMQ cluster on this machine, for tests: its nodes can be killed, suspended and started again.

    with open_cluster(find_server(servers, release="sid"), folder, definitions=file) as cluster:
        cluster.kill(0)
        cluster.start(0)

Every node is one of `stack.broker`'s, in a folder of its own, on loopback only. They share one port mapper and one
cookie, and find each other by their names. All of it dies with this process, whatever way that ends.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stack import broker as brokers
from stack import node, occupancy
from stack.broker import PROJECT_CONFIGURATION, Broker, Server
from stack.errors import BrokerFailed
from stack.ports import free_port, is_free, serves_amqp

_MAPPER = Path(__file__).with_name("mapper.py")
_MAPPER_S = 10
_START_S = 120
# A node that has another cookie for the others is refused by them, and refuses them; the tools still reach it.
_CUT = "[begin erlang:set_cookie(N, cut_off), erlang:disconnect_node(N) end || N <- NAMES]."
_REJOIN = "[begin erlang:set_cookie(N, erlang:get_cookie()), net_kernel:connect_node(N) end || N <- NAMES]."
_FEWEST_SEEN = "lists:min([length(erpc:call(N, rabbit_nodes, list_running, [])) || N <- rabbit_nodes:list_members()])."


@dataclass(slots=True, kw_only=True)
class Cluster:
    """The nodes, by number from 0 on; each keeps its folder, its name and its ports for good."""

    server: Server
    folder: Path
    mapper_port: int
    nodes: list[Broker] = field(default_factory=list)

    @property
    def alive(self) -> list[Broker]:
        """The nodes that run; a suspended one does not."""
        return [each for each in self.nodes if serves_amqp(each.amqp_port)]

    def kill(self, number: int) -> None:
        """SIGKILL a node and wait until it is gone."""
        self.nodes[number].kill()

    def suspend(self, number: int) -> None:
        """SIGSTOP a node: its connections stay, and nothing comes from it."""
        folder = self.nodes[number].folder
        occupancy.send(folder / "node.pid", signal.SIGSTOP, folder)

    def resume(self, number: int) -> None:
        """SIGCONT a node."""
        folder = self.nodes[number].folder
        occupancy.send(folder / "node.pid", signal.SIGCONT, folder)

    def start(self, number: int) -> None:
        """Start a node again in its place, and wait until it serves AMQP.

        Raises:
            BrokerFailed: it did not come up, or runs already.
        """
        self.nodes[number] = self.started(number, last=self.nodes[number])

    def cut_off(self, number: int) -> None:
        """Part a node from all others: it and they go on, and clients reach both sides."""
        self._part(number, _CUT)

    def rejoin(self, number: int) -> None:
        """Let a node that was cut off be reached again."""
        self._part(number, _REJOIN)

    def _part(self, number: int, how: str) -> None:
        others = [each for each in self.nodes if each is not self.nodes[number]]
        names = ", ".join(f"'{each.name}@localhost'" for each in others)
        self.nodes[number].ctl("eval", how.replace("NAMES", f"[{names}]"))

    def await_members(self, *, timeout_s: float = 60) -> None:
        """Wait until every node sees all others.

        Raises:
            BrokerFailed: they do not find each other.
        """
        if not occupancy.wait_until(lambda: self._fewest_seen() == len(self.nodes), timeout_s):
            raise BrokerFailed(f"the nodes in {self.folder} did not become one cluster")

    def _fewest_seen(self) -> int:
        """Give how many running nodes that node sees that sees the fewest; 0: one cannot be asked."""
        try:
            return int(self.nodes[0].ctl("eval", _FEWEST_SEEN).strip())
        except BrokerFailed:
            return 0

    def leaders(self, vhost: str) -> dict[str, int]:
        """Give the number of the node that leads each quorum queue, by the queue's name; a queue without one is left out."""
        names = {f"{each.name}@localhost": number for number, each in enumerate(self.nodes)}
        said = self.alive[0].ctl("list_queues", "-p", vhost, "name", "leader", "--no-table-headers")
        rows = [line.split() for line in said.splitlines()]
        return {row[0]: names[row[1]] for row in rows if len(row) > 1 and row[1] in names}

    def started(self, number: int, *, last: Broker | None = None) -> Broker:
        """Start the node of this number, on the ports of the last one."""
        return brokers.start(
            self.server,
            self.folder / str(number),
            definitions=None,
            name=f"warren{number}",
            amqp_port=last.amqp_port if last else 0,
            http_port=last.http_port if last else 0,
            configuration=self.folder / "cluster.conf",
            mapper_port=self.mapper_port,
            die_with_parent=True,
            timeout_s=_START_S,
        )


@contextmanager
def open_cluster(
    server: Server,
    folder: Path,
    *,
    definitions: Path,
    size: int = 3,
    net_tick_s: int = 60,
) -> Iterator[Cluster]:
    """Start a cluster of `size` nodes, with the definitions loaded once all nodes are there; kill it in the end.

    `net_tick_s` is how long a node may be silent before the others take it for dead.

    Raises:
        BrokerFailed: a node did not come up, or they did not find each other.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "cluster.conf").write_text(_configuration(size, net_tick_s), encoding="utf-8")
    _share_cookie(folder, size)
    port = free_port(set())
    with _mapper(server, port):
        cluster = Cluster(server=server, folder=folder, mapper_port=port)
        try:
            with ThreadPoolExecutor(max_workers=size) as threads:
                cluster.nodes = list(threads.map(cluster.started, range(size)))
            cluster.await_members()
            # Before, a queue's replicas would all be on the first node.
            cluster.nodes[0].ctl("import_definitions", str(definitions))
            cluster.nodes[0].ctl("delete_user", "guest")
            yield cluster
        finally:
            for number in range(size):
                occupancy.kill_group(folder / str(number))


def _configuration(size: int, net_tick_s: int) -> str:
    """Give the project's rabbitmq.conf for the nodes of a cluster."""
    members = {
        f"cluster_formation.classic_config.nodes.{n + 1}": f"warren{n}@localhost"
        for n in range(size)
    }
    return node.overlay(
        PROJECT_CONFIGURATION.read_text(encoding="utf-8"),
        {
            "cluster_formation.peer_discovery_backend": "classic_config",
            **members,
            "cluster_formation.target_cluster_size_hint": str(size),
            # A node that was cut off stops until it is back among the others, and then begins anew with them.
            "cluster_partition_handling": "pause_minority",
            "net_ticktime": str(net_tick_s),
        },
    )


def _share_cookie(folder: Path, size: int) -> None:
    secret = secrets.token_hex(20)
    for number in range(size):
        cookie = folder / str(number) / "home/.erlang.cookie"
        cookie.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        cookie.unlink(missing_ok=True)  # one of before cannot be written
        cookie.touch(mode=0o600)
        cookie.write_text(secret, encoding="utf-8")
        cookie.chmod(0o400)


@contextmanager
def _mapper(server: Server, port: int) -> Iterator[None]:
    """Run the port mapper; it ends with the block, or with this process."""
    read, write = os.pipe()
    search = f"{node.plain(server.erlang)}:{os.environ.get('PATH', '')}:/usr/bin:/bin"
    mapper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_MAPPER), "127.0.0.1", str(port), str(read)],
        env={"PATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[read],
        start_new_session=True,
    )
    os.close(read)
    try:
        if not occupancy.wait_until(lambda: not is_free(port), _MAPPER_S):
            raise BrokerFailed(f"no port mapper came up on port {port}")
        yield
    finally:
        os.close(write)
        mapper.wait(_MAPPER_S)
