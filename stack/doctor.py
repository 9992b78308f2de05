"""`./dev doctor`: what stands in the way of developing or trying Warren on this machine. Standard library only."""

import argparse
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from stack import bootstrap, container, occupancy, ports, verdicts, ways
from stack.finding import Finding, Severity, warn

_WARREN = bootstrap.ROOT / ".warren"
_PROBES_PORT = 9464
_AMQP_PORT, _MANAGEMENT_PORT = 5672, 15672
_REACH_S = 5


def main(arguments: list[str]) -> int:
    """Look, and tell; 0 when nothing stands in the way, else 1."""
    parser = argparse.ArgumentParser(
        prog="./dev doctor",
        description="Look for what stands in the way of developing or trying Warren on this machine, and tell the "
        "line that mends it. Changes nothing. Exit status: 0 nothing stands in the way, 1 something does, 2 usage.",
        epilog="`warren doctor` looks at what a worker in production needs.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(arguments)
    findings = list(_findings(bootstrap.ROOT))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _tell(findings)
    return int(any(finding.severity is Severity.FAIL for finding in findings))


def _findings(root: Path) -> Iterator[Finding]:
    yield verdicts.python(sys.version_info[:3])
    venv = find_spec("venv") is not None and find_spec("ensurepip") is not None
    yield verdicts.installer(uv=shutil.which("uv") is not None, venv=venv)
    yield _environment(root)
    yield from _broker()
    writable = os.access(root, os.W_OK | os.X_OK)
    yield verdicts.room(shutil.disk_usage(root).free, writable=writable)
    yield from verdicts.ports(loopback=ports.is_free(0), probes=ports.is_free(_PROBES_PORT))
    yield from _leftovers()
    if os.environ.get("OPENAI_BASE_URL"):
        yield warn(
            "OPENAI_BASE_URL",
            "is set: ./dev demo and ./dev up ask that API instead of the simulator, which may cost money",
            "unset OPENAI_BASE_URL",
        )


def _environment(root: Path) -> Finding:
    venv = root / ".venv"
    return verdicts.environment(
        exists=venv.exists(),
        answers=bootstrap.runs(venv / "bin/python"),
        current=bootstrap.is_current(root),
    )


def _broker() -> Iterator[Finding]:
    found = ways.way(ways.look(_WARREN / "servers"))
    yield verdicts.broker(found)
    yield verdicts.docker(container.obstacle(), needed=found in {ways.Way.DOCKER, ways.Way.NONE})
    if found is not ways.Way.URL:
        return
    url = os.environ["RABBITMQ_URL"]
    host = _host(url)
    if host is None:
        said = "it must look like amqp://user:password@host:5672"
        yield from verdicts.given_broker(amqp=said, management=None)
        return
    management = os.environ.get("RABBITMQ_MANAGEMENT_URL") or f"http://{host}"
    yield from verdicts.given_broker(
        amqp=_unreached(url, _AMQP_PORT), management=_unreached(management, _MANAGEMENT_PORT)
    )


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme == "amqp" else None


def _unreached(url: str, default: int) -> str | None:
    """Say why nothing is reached at a URL, without its user and password; None: something listens there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or default
    except ValueError:
        return "it is no URL"
    try:
        socket.create_connection((host, port), timeout=_REACH_S).close()
    except OSError as error:
        return f"nothing is reached at {host}:{port} ({error.strerror or error})"
    return None


def _leftovers() -> Iterator[Finding]:
    parts = sorted(_lived(_WARREN / "up"))
    held = {folder.name: _lives(folder) for folder in parts}
    return verdicts.leftovers(
        up=[name for name, lives in held.items() if lives],
        down=[name for name, lives in held.items() if not lives],
        demo=[folder.name for folder in sorted(_lived(_WARREN / "demo")) if _lives(folder)],
        unpacking=[str(each) for each in sorted((_WARREN / "servers").glob("apt-*"))],
    )


def _lived(house: Path) -> Iterator[Path]:
    for folder in house.glob("*"):
        if (folder / "lock").exists() or container.is_kept(folder):
            yield folder


def _lives(folder: Path) -> bool:
    return occupancy.held(folder) or container.running(folder) is not None


def _tell(findings: Sequence[Finding]) -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{finding.severity.value:5} {finding.what:{width}}  {finding.detail}")
        if finding.mend:
            print(f"{'':5} {'':{width}}  to mend it: {finding.mend}")
    bad = sum(finding.severity is Severity.FAIL for finding in findings)
    print("nothing stands in the way: ./dev demo" if not bad else f"{bad} in the way")
