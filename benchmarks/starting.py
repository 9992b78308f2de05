"""A contestant's processes: started from outside, profiled if asked for, and stopped with all that they started."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.contestants import Contestant, Warren, edited
from benchmarks.yard import TIER, Yard
from stack.bench import PEERS
from stack.errors import StackError
from stack.house import ROOT
from stack.services import Service, free_port, spawn
from worker.descriptors import allowed

_STOP_S: Final = 5
# Open files beside the calls in flight.
_SPARE_FILES: Final = 200
_SAMPLES_PER_S: Final = 200
_BIN: Final = ROOT / PEERS / "bin"


def start(
    contestant: Contestant | Warren, yard: Yard, in_flight: int, processes: int
) -> list[Service]:
    """Start so many processes of a contestant, each with so many calls in flight; they are not ready yet.

    Raises:
        StackError: so many files may not be open.
    """
    if allowed() < in_flight + _SPARE_FILES:
        raise StackError(
            f"{contestant.name}: {in_flight:,} calls in flight need as many open files, and {allowed():,} are allowed"
            f" (ulimit -Hn): raise it, or take fewer by --in-flight"
        )
    folder = yard.house.folder
    if isinstance(contestant, Warren):
        shutil.rmtree(folder / "store", ignore_errors=True)  # an empty ledger, as for the first one
        measure = {f"tiers.{TIER}": (f"concurrency = {in_flight}",)}
        text = edited(edited(yard.text, measure), contestant.settings)
        yard.house.config.write_text(text, encoding="utf-8")
    return [
        _started(contestant, yard, in_flight, folder / f"worker-{contestant.name}-{number}")
        for number in range(processes)
    ]


def _started(contestant: Contestant | Warren, yard: Yard, in_flight: int, folder: Path) -> Service:
    if isinstance(contestant, Warren):
        environment = {
            "WARREN_CONFIG": str(yard.house.config),
            "WARREN_HTTP__LISTEN": f"127.0.0.1:{free_port()}",
        }
        return spawn(folder, [sys.executable, "-m", "worker.cli.main", "worker"], environment)
    command = [str(_BIN / "python"), "-m", contestant.module]
    command += ["--url", yard.admin_url, "--upstream", yard.upstream]
    command += ["--in-flight", str(in_flight)]
    return spawn(folder, command, {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"})


def stop(services: Sequence[Service]) -> None:
    """Stop processes and whatever they have started: each leads a session of its own."""
    for service in services:
        service.send(signal.SIGTERM)
    for service in services:
        pid = service.pid
        service.stop(timeout_s=_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


@contextmanager
def profiled(service: Service, into: Path | None) -> Iterator[None]:
    """Let py-spy sample a process into the file `into`, if one is given, until it is left: folded stacks.

    Only samples that hold the interpreter are taken, without stopping it: what it costs the process is little.
    """
    if into is None:
        yield
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    command = [str(_BIN / "py-spy"), "record", "--gil", "--nonblocking", "--subprocesses"]
    command += ["--format", "raw", "--full-filenames", "--nolineno"]
    command += ["--rate", str(_SAMPLES_PER_S), "--pid", str(service.pid), "--output", str(into)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as spy:  # noqa: S603  # a program of the lock
        try:
            yield
        finally:
            spy.send_signal(signal.SIGINT)  # it then writes what it has
