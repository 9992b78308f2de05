"""The services of docker-compose.yml without their containers: their files, their commands, one after the other.

Only what a container would give them is replaced: names by ports of this machine, mounted paths by folders.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.broker import Broker
from stack.services import free_port
from tests.faults.vhost import ROOT
from tests.packaging.compose import SERVICES, duration
from tests.packaging.node import compose_node

pytestmark = [pytest.mark.broker, pytest.mark.processes]


@dataclass(frozen=True, slots=True)
class Host:
    """A folder that stands for a host, and what stands there for the containers' world."""

    folder: Path
    instead: Mapping[str, str]

    def here(self, text: str) -> str:
        for inside, outside in self.instead.items():
            text = text.replace(inside, outside)
        return text

    def environment(self, service: str) -> dict[str, str]:
        tools = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        told = SERVICES[service].get("environment", {})
        return {"PATH": tools} | {name: self.here(value) for name, value in told.items()}

    def command(self, service: str, *arguments: str) -> list[str]:
        """Give what the container would run; the image's own entry point is `warren`."""
        said = SERVICES[service]
        entry: list[Any] = said.get("entrypoint", ["warren"])
        words = [*entry, *(arguments or said["command"])]
        return [self.here(word.replace("$$", "$")) for word in words]

    def check(self, service: str) -> list[str]:
        _, *command = SERVICES[service]["healthcheck"]["test"]
        return [self.here(word) for word in command]

    def run(self, service: str, *arguments: str) -> str:
        done = subprocess.run(
            self.command(service, *arguments),
            cwd=ROOT,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def healthy(host: Host, service: str, process: subprocess.Popen[bytes]) -> None:
    """Ask as often as Docker would while a service starts, and sooner."""
    for _ in range(200):
        asked = subprocess.run(
            host.check(service), env=host.environment(service), capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        assert process.poll() is None, (host.folder / f"{service}.log").read_text("utf-8")
    pytest.fail(f"{service} never got healthy: {asked.stdout!r}")


def rewrite(host: Host, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.chmod(0o600)
    path.write_text(host.here(text), encoding="utf-8")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Broker]:
    with compose_node(tmp_path) as broker:
        yield broker


@pytest.fixture
def host(tmp_path: Path, node: Broker) -> Host:
    worker, simulator = free_port(), free_port()
    made = Host(
        tmp_path,
        {
            "127.0.0.1:15672": f"127.0.0.1:{node.http_port}",
            "127.0.0.1:5672": f"127.0.0.1:{node.amqp_port}",
            "rabbitmq:5672": f"127.0.0.1:{node.amqp_port}",
            "simulator:8080": f"127.0.0.1:{simulator}",
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=8080": f"--port={simulator}",
            "127.0.0.1:8080": f"127.0.0.1:{simulator}",
            "127.0.0.1:9464": f"127.0.0.1:{worker}",
            "0.0.0.0:9464": f"127.0.0.1:{worker}",
            "/run/secrets": str(tmp_path / "secrets"),
            "/var/lib/warren": str(tmp_path / "ledger"),
            "/etc/warren": str(tmp_path),
            "/opt/warren/healthcheck.py": str(ROOT / "docker/healthcheck.py"),
        },
    )
    config = tmp_path / "warren.toml"
    config.write_text((ROOT / "docker/warren.toml").read_text("utf-8"), "utf-8")
    rewrite(made, config)
    rewrite(made, tmp_path / "secrets/env")
    return made


@pytest.fixture
def services(host: Host) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start simulator and worker, in the order that the file wants, and wait until their own checks pass."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as open_:
        for name in ("simulator", "worker"):
            log = open_.enter_context((host.folder / f"{name}.log").open("wb"))
            running[name] = open_.enter_context(
                subprocess.Popen(
                    host.command(name),
                    cwd=ROOT,
                    env=host.environment(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
            open_.callback(running[name].kill)
            healthy(host, name, running[name])
        yield running


def test_a_request_is_answered_and_an_operator_sees_it(
    host: Host, services: dict[str, subprocess.Popen[bytes]]
) -> None:
    answered = host.run("operator", "submit", "--tier", "standard", "--key", "k", "Say hello")
    assert answered.strip()
    tiers = json.loads(host.run("operator", "status", "--json"))
    assert tiers
    assert host.run("operator", "dead", "list", "--json").strip() == "[]"

    worker = services["worker"]
    worker.send_signal(signal.SIGTERM)
    patience = duration(SERVICES["worker"]["stop_grace_period"]).total_seconds()
    assert worker.wait(patience) == 0
