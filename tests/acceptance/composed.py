"""The services of docker-compose.yml without their containers: their files, their commands, one after the other.

Only what a container would give them is replaced: names by ports of this machine, mounted paths by folders.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.broker import Broker
from stack.services import free_port
from tests.faults.vhost import ROOT
from tests.packaging.compose import SERVICES


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


def open_host(folder: Path, node: Broker) -> Host:
    """Give a folder with the containers' files, whose places are here."""
    worker, simulator = free_port(), free_port()
    made = Host(
        folder,
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
            "/run/secrets": str(folder / "secrets"),
            "/var/lib/warren": str(folder / "ledger"),
            "/etc/warren": str(folder),
            "/opt/warren/healthcheck.py": str(ROOT / "docker/healthcheck.py"),
        },
    )
    config = folder / "warren.toml"
    config.write_text((ROOT / "docker/warren.toml").read_text("utf-8"), "utf-8")
    rewrite(made, config)
    rewrite(made, folder / "secrets/env")
    return made


@contextmanager
def running(host: Host) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start simulator and worker, in the order that the file wants, and wait until their own checks pass."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as open_:
        for name in ("simulator", "worker"):
            log = open_.enter_context((host.folder / f"{name}.log").open("wb"))
            started[name] = open_.enter_context(
                subprocess.Popen(
                    host.command(name),
                    cwd=ROOT,
                    env=host.environment(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
            open_.callback(started[name].kill)
            healthy(host, name, started[name])
        yield started
