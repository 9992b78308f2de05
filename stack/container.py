"""A broker in a container, where docker is all that this machine has.

Tested against a stand-in for `docker` that records what it is asked; not against a real engine.

The container publishes on random ports of 127.0.0.1 only. It gets rabbitmq.conf as a file, and user and password
of the administrator from our environment, so that no command line shows them; the definitions are loaded over
its management API, as into any broker that somebody else runs. It is removed with its data when it is stopped.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack import interrupts, node, occupancy
from stack.errors import BrokerFailed
from stack.ports import serves_amqp

IMAGE = "rabbitmq:4.2.10-management"
CONFIGURATION = Path(__file__).parent.parent / "rabbitmq/rabbitmq.conf"

_AMQP, _HTTP = 5672, 15672
# docker may have to fetch the image first.
_RUN_S = 900
_ASK_S = 20
_TAIL_LINES = "25"
# What a container must do otherwise than a node on a host: its own loopback is not the machine's.
_OVERLAY: Mapping[str, str | None] = {
    "management.tcp.ip": None,
    "load_definitions": None,
    "disk_free_limit.absolute": "200MB",
    "vm_memory_high_watermark.relative": None,
    "vm_memory_high_watermark.absolute": "1GB",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container, and its ports on 127.0.0.1."""

    name: str
    amqp_port: int
    http_port: int


def obstacle() -> str | None:
    """Say why docker cannot be used here, and what to do; None: it can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if not _answers("compose", "version"):
        return "docker has no compose plugin: install docker-compose-plugin"
    if not _answers("info"):
        return "docker's daemon does not answer: start it, or join the group docker"
    return None


def start(folder: Path, *, user: str, password: str, timeout_s: float = 120) -> Container:
    """Run a broker for `folder`, anew, and wait until it serves AMQP.

    Raises:
        BrokerFailed: docker refused, or the broker did not come up; nothing of it is left.
    """
    remove(folder)
    name = _name(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(
        node.overlay(CONFIGURATION.read_text(encoding="utf-8"), _OVERLAY), "utf-8"
    )
    configuration.chmod(0o644)  # the container's user is another
    (folder / "container").write_text(name, encoding="utf-8")
    try:
        _docker(*_run(name, configuration), timeout_s=_RUN_S, user=user, password=password)
        found = _ports(name)
        _await(found, timeout_s)
    except BaseException:
        with interrupts.put_off():
            remove(folder)
        raise
    return found


def _await(found: Container, timeout_s: float) -> None:
    occupancy.wait_until(lambda: serves_amqp(found.amqp_port) or not _runs(found.name), timeout_s)
    if not serves_amqp(found.amqp_port):
        said = _docker("logs", "--tail", _TAIL_LINES, found.name, timeout_s=_ASK_S)
        raise BrokerFailed(
            f"the container {found.name} of {IMAGE} did not come up; the end of its log:\n{said}"
        )


def running(folder: Path) -> Container | None:
    """Give the container that runs for `folder`, or None if none does."""
    if not is_kept(folder):
        return None
    name = _name(folder)
    return _ports(name) if _runs(name) else None


def is_kept(folder: Path) -> bool:
    """Tell whether a container was made for `folder` and not removed."""
    return (folder / "container").exists()


def remove(folder: Path) -> None:
    """Remove the folder's container with its data, if there is one.

    Raises:
        BrokerFailed: docker does not; the container is not forgotten.
    """
    if not is_kept(folder):
        return
    try:
        _docker("rm", "--force", "--volumes", _name(folder), timeout_s=_ASK_S)
    except BrokerFailed as error:
        if "No such container" not in str(error):
            raise
    (folder / "container").unlink()


def _run(name: str, configuration: Path) -> list[str]:
    target = "/etc/rabbitmq/conf.d/20-warren.conf"
    return [
        *("run", "--detach", "--name", name, "--hostname", name),
        *("--publish", f"127.0.0.1::{_AMQP}", "--publish", f"127.0.0.1::{_HTTP}"),
        # By name only: docker takes the values from its own environment.
        *("--env", "RABBITMQ_DEFAULT_USER", "--env", "RABBITMQ_DEFAULT_PASS"),
        *("--mount", f"type=bind,source={configuration.absolute()},target={target},readonly"),
        IMAGE,
    ]


def _name(folder: Path) -> str:
    return f"warren-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]}"


def _ports(name: str) -> Container:
    def port(inner: int) -> int:
        told = _docker("port", name, f"{inner}/tcp", timeout_s=_ASK_S)
        last = told.strip().splitlines()[0].rpartition(":")[2] if told.strip() else ""
        if not last.isdigit():
            raise BrokerFailed(f"docker tells no port of the container {name}: {told!r}")
        return int(last)

    return Container(name=name, amqp_port=port(_AMQP), http_port=port(_HTTP))


def _runs(name: str) -> bool:
    try:
        return (
            _docker("inspect", "--format", "{{.State.Running}}", name, timeout_s=_ASK_S).strip()
            == "true"
        )
    except BrokerFailed:
        return False


def _answers(*arguments: str) -> bool:
    try:
        _docker(*arguments, timeout_s=_ASK_S)
    except BrokerFailed:
        return False
    return True


def _docker(*arguments: str, timeout_s: float, user: str = "", password: str = "") -> str:
    environment = dict(os.environ)
    if user:
        environment |= {"RABBITMQ_DEFAULT_USER": user, "RABBITMQ_DEFAULT_PASS": password}
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerFailed(f"docker {arguments[0]}: no answer in {timeout_s} s") from None
    except OSError as error:
        raise BrokerFailed(f"docker cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise BrokerFailed(f"docker {arguments[0]} failed: {(done.stderr + done.stdout).strip()}")
    return done.stdout
