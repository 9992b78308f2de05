"""A private RabbitMQ node: start it, ask it, stop it, kill it.

    server = find_server(Path(".warren/servers"))
    broker = start(server, Path(".warren/broker"), definitions=None)
    broker.ctl("list_queues")
    broker.stop()

A node needs no root, listens on 127.0.0.1 only, and keeps all its state under its folder. Who runs in
a folder is decided by a file lock that the kernel releases, so a process id is never mistaken.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stack import interrupts, node, occupancy
from stack.errors import BrokerFailed, BrokerNotFound, StackError
from stack.ports import choose_ports, serves_amqp
from stack.server import Server, find_server

__all__ = [
    "Broker",
    "BrokerFailed",
    "BrokerNotFound",
    "Server",
    "StackError",
    "find_server",
    "running",
    "start",
]

PROJECT_CONFIGURATION = Path(__file__).parent.parent / "rabbitmq/rabbitmq.conf"

_KEEPER = Path(__file__).with_name("keeper.py")
_TAIL_LINES = 25
# A node that does not serve yet ignores a polite end, and has nothing to bring to safety.
_UNREADY_S = 3
# The inner lines of Erlang's crash reports, which push what matters out of the tail.
_NOISE = re.compile(r"\S+ \S+ \[\w+\] <[\d.]+>(\s*|\s\s.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A node as it was found or started; the value does not change when the node ends."""

    folder: Path
    name: str
    version: str
    amqp_port: int
    http_port: int

    def ctl(self, *arguments: str, timeout_s: float = 60) -> str:
        """Run `rabbitmqctl` against the node and give what it printed.

        Raises:
            BrokerFailed: The command failed or took too long.
        """
        record = node.read_record(self.folder)
        if record is None:
            raise BrokerFailed(f"no node is recorded in {self.folder}; start one first")
        try:
            done = subprocess.run(
                [str(node.scripts(record.server) / "rabbitmqctl"), "--quiet", *arguments],
                env=node.environment(self.folder, record),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BrokerFailed(f"rabbitmqctl {arguments[0]}: no answer in {timeout_s} s") from None
        if done.returncode != 0:
            said = (done.stderr + done.stdout).strip()
            raise BrokerFailed(f"rabbitmqctl {arguments[0]} failed: {said}")
        return done.stdout

    def stop(self, *, timeout_s: float = 60) -> None:
        """Let the node end in its own time, then be gone with all its processes.

        A node that does not end within `timeout_s`, or does not serve and does not end soon, is killed. Stopping
        twice does nothing.
        """
        if not serves_amqp(self.amqp_port):
            timeout_s = min(timeout_s, _UNREADY_S)
        occupancy.send(self.folder / "node.pid", signal.SIGTERM, self.folder)
        if not occupancy.wait_until(lambda: not occupancy.held(self.folder), timeout_s):
            occupancy.kill_group(self.folder)

    def kill(self) -> None:
        """End the node at once with SIGKILL, as a crash would, and wait until it is gone."""
        occupancy.send(self.folder / "node.pid", signal.SIGKILL, self.folder)
        if not occupancy.wait_until(lambda: not occupancy.held(self.folder), 10):
            occupancy.kill_group(self.folder)


def start(
    server: Server,
    folder: Path,
    *,
    definitions: Path | None,
    name: str = "warren",
    amqp_port: int = 0,
    http_port: int = 0,
    configuration: Path = PROJECT_CONFIGURATION,
    plugins: str = node.PLUGINS,
    mapper_port: int = 0,
    die_with_parent: bool = False,
    timeout_s: float = 90,
) -> Broker:
    """Start a node in `folder` and wait until it serves AMQP with `definitions` loaded.

    Data of an earlier node in the same folder is kept, and so are its ports where they are still free
    and no others are asked for. Without `definitions` RabbitMQ makes its user "guest", for loopback only.
    `plugins` is the text of its file of enabled plugins. With `mapper_port` the node uses the port mapper that runs there, else one of its own.
    With `die_with_parent` the node is killed when this process ends, whatever way it ends.

    Raises:
        BrokerFailed: A node runs there already, or this one did not come up; then the text has the
            end of its log. Nothing of it is left running, and neither is after a KeyboardInterrupt.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = occupancy.take(folder)
    with _nothing_left(folder):
        try:
            last = node.read_record(folder)
            _refuse_older(server, last, folder)
            ports = choose_ports(
                last.ports if last else None, amqp=amqp_port, http=http_port, epmd=mapper_port
            )
            record = node.Record(name=name, server=server, ports=ports, own_mapper=not mapper_port)
            base = configuration.read_text(encoding="utf-8")
            node.prepare(folder, ports=ports, definitions=definitions, base=base, plugins=plugins)
            (folder / "node.pid").unlink(missing_ok=True)
            (folder / "logs/node.log").unlink(missing_ok=True)
            node.write_record(folder, record)
            environment = node.environment(folder, record)
            with interrupts.put_off():
                _launch(folder, lock, environment, die_with_parent=die_with_parent)
        finally:
            os.close(lock)
        ready = occupancy.wait_until(
            lambda: serves_amqp(ports.amqp) or not occupancy.held(folder), timeout_s
        )
        if not ready or not occupancy.held(folder):
            raise BrokerFailed(_obituary(folder, record, last, in_time=ready))
    return _broker(folder, record)


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Kill what was started when the start fails or is given up; no Ctrl-C cuts that short."""
    (folder / "keeper.pid").unlink(missing_ok=True)  # an earlier node's
    try:
        yield
    except BaseException:
        with interrupts.put_off():
            occupancy.kill_group(folder)
        raise


def running(folder: Path) -> Broker | None:
    """Give the node that runs in `folder`, or None if none does."""
    folder = folder.absolute()
    record = node.read_record(folder)
    if record is None or not occupancy.held(folder):
        return None
    return _broker(folder, record)


def _broker(folder: Path, record: node.Record) -> Broker:
    return Broker(
        folder=folder,
        name=record.name,
        version=record.server.version,
        amqp_port=record.ports.amqp,
        http_port=record.ports.http,
    )


def _refuse_older(server: Server, last: node.Record | None, folder: Path) -> None:
    """Refuse a server older than the data: it would not find them, and start empty."""

    def order(version: str) -> list[int]:
        return [int(number) for number in version.split(".")[:2]]

    if last is not None and order(server.version) < order(last.server.version):
        raise BrokerFailed(
            f"the data in {folder} are of RabbitMQ {last.server.version}, newer than {server.version}: "
            f"use that version, or delete {folder}"
        )


def _launch(folder: Path, lock: int, environment: dict[str, str], *, die_with_parent: bool) -> None:
    inherited = [lock]
    if die_with_parent:
        # The write end stays open in this process, and in no child of it, for as long as it lives.
        inherited.append(os.pipe()[0])
    arguments = [str(folder), *(str(number) for number in inherited)]
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", str(_KEEPER), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
            check=True,
        )
    finally:
        for number in inherited[1:]:
            os.close(number)


def _obituary(folder: Path, record: node.Record, last: node.Record | None, *, in_time: bool) -> str:
    """Tell why a node did not come up, as far as can be seen: the end of what it wrote."""
    version = record.server.version
    ending = "ended while it started" if in_time else "was not ready in time"
    lines = [f"RabbitMQ {version} in {folder} {ending}."]
    if last is not None and last.server.version != version:
        lines += [f"Its data was last used by {last.server.version}: delete {folder}/data?"]
    for name in ("logs/node.log", "logs/console.log"):
        with suppress(OSError):
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            told = [line for line in text.splitlines() if line and not _NOISE.match(line)]
            lines += told[-_TAIL_LINES:]
    return "\n".join(lines)
