"""What the workers of a house call: simulators, each an endpoint of its own, or one real API."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.services import Service, spawn
from stack.supply import Tell

MAIN = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The API that the workers call: a simulator, or a real one at `base_url`."""

    base_url: str
    key: str | None = None
    simulated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """One simulator, and the endpoint that it is.

    `options` are those of `python -m simulator`; `settings` are lines for the endpoint's table, such as `weight = 2`.
    """

    name: str = MAIN
    options: tuple[str, ...] = ()
    settings: str = ""


def simulator(folder: Path, name: str) -> Service:
    """Give the process that is the endpoint `name` of the house in a folder, running or not."""
    return Service(folder=folder / f"simulator{_suffix(name)}")


def simulators(folder: Path) -> Iterator[Service]:
    """Give every simulator that was ever started in a folder, running or not."""
    for found in sorted(folder.glob("simulator*")):
        if found.is_dir():
            yield Service(folder=found)


def calls_log(folder: Path, name: str) -> Path:
    """Where the simulator that is the endpoint `name` logs its calls."""
    return folder / f"calls{_suffix(name)}.jsonl"


def start(folder: Path, simulated: Simulated, tell: Tell) -> str:
    """Start a simulator unless it runs, and give the root of its API.

    Raises:
        StackError: it did not come up.
    """
    service = simulator(folder, simulated.name)
    port_file = folder / f"simulator{_suffix(simulated.name)}.port"
    if not service.alive:
        tell("starting the simulator" + (f" {simulated.name}" if _suffix(simulated.name) else ""))
        port_file.unlink(missing_ok=True)
        log = str(calls_log(folder, simulated.name))
        command = [sys.executable, "-m", "simulator", "--port-file", str(port_file), "--log", log]
        service = spawn(service.folder, [*command, *simulated.options], {})
        service.wait_until(port_file.exists)
    return f"http://127.0.0.1:{port_file.read_text(encoding='utf-8').strip()}/v1"


def control(base_url: str, path: str) -> str:
    """Give the address of a simulator's control API, such as that of `stats`."""
    return f"{base_url.removesuffix('/v1')}/_sim/{path}"


def configuration(
    upstreams: Mapping[str, str],
    settings: Mapping[str, str],
    key_file: Path,
    tiers: Mapping[str, int],
) -> str:
    """Give the workers' configuration of endpoints (by name: URL, more lines) and of the tiers that they all serve."""
    endpoints = "".join(
        f'[endpoints.{name}]\nbase_url = "{url}"\nkey_file = "{key_file}"\n{settings.get(name, "")}\n'
        for name, url in upstreams.items()
    )
    names = ", ".join(f'"{name}"' for name in upstreams)
    tables = "".join(
        f'[tiers.{tier}]\nconcurrency = {concurrency}\nendpoints = [{names}]\ndedupe = "cache"\n\n'
        for tier, concurrency in tiers.items()
    )
    return endpoints + tables


def _suffix(name: str) -> str:
    """Where there is one simulator, its files have no name but their own."""
    return "" if name == MAIN else f"-{name}"
