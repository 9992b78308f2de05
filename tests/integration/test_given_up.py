"""Ctrl-C or SIGTERM while a stack comes up: it ends soon, at whatever moment, and leaves no process behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stack import occupancy
from tests.faults.vhost import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.processes]

_UP = """
import sys
from pathlib import Path
from stack import living
from stack.__main__ import main
living._FOLDER = Path(sys.argv[1])
sys.argv[1:] = ["up", "--workers", "1"]
sys.exit(main())
"""
# What appears in the folder, one after the other, while the stack comes up.
_MOMENTS = (
    "broker/node.json",
    "broker/keeper.pid",
    "broker/node.pid",
    "simulator/service.pid",
    "simulator.port",
    "worker-1/service.pid",
)
_SOON_S = 15
_BENCH = ("--only", "warren", "--rounds", "1", "--jobs", "50000")


def _started(*command: str, folder: Path) -> "subprocess.Popen[bytes]":
    environment = {name: it for name, it in os.environ.items() if name != "RABBITMQ_URL"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a group of its own, which gets the Ctrl-C as a terminal's does
    )


def _living(folder: Path) -> list[str]:
    return [each.parent.name for each in folder.glob("*/lock") if occupancy.held(each.parent)]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("moment", _MOMENTS)
def test_ctrl_c_ends_a_start_soon_and_leaves_no_process(
    moment: str, times: int, tmp_path: Path
) -> None:
    with _started("-c", _UP, str(tmp_path), folder=tmp_path) as process:
        assert occupancy.wait_until((tmp_path / moment).exists, 60)
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            # Again once the clean-up has begun, which the first one sets off within a few milliseconds.
            occupancy.wait_until(lambda: process.poll() is not None, 0.15)
            if process.returncode is not None:
                break
        told, _ = process.communicate(timeout=_SOON_S)

    assert process.returncode == 130, told.decode()
    assert b"Traceback" not in told, told.decode()
    assert _living(tmp_path) == []
    group = tmp_path / "broker/keeper.pid"
    if group.exists():
        leader = int(group.read_text(encoding="utf-8"))
        assert occupancy.wait_until(lambda: _is_empty(leader), 5)


@pytest.mark.parametrize("moment", _MOMENTS[2::3])
def test_a_sigterm_does_what_ctrl_c_does(moment: str, tmp_path: Path) -> None:
    with _started("-c", _UP, str(tmp_path), folder=tmp_path) as process:
        assert occupancy.wait_until((tmp_path / moment).exists, 60)
        process.terminate()
        told, _ = process.communicate(timeout=_SOON_S)

    assert process.returncode == 130, told.decode()
    assert b"Traceback" not in told, told.decode()
    assert _living(tmp_path) == []


def test_a_benchmark_that_gets_a_sigterm_stops_all_that_it_started(tmp_path: Path) -> None:
    with _started("-m", "benchmarks.bench", *_BENCH, folder=tmp_path) as process:
        assert occupancy.wait_until(
            lambda: (
                any(tmp_path.glob("*/worker-warren-0/service.pid")) or process.poll() is not None
            ),
            90,
        )
        (folder,) = tmp_path.glob("warren-bench-*")
        pids = [int(path.read_text(encoding="utf-8")) for path in folder.glob("*/*.pid")]
        process.terminate()
        told, _ = process.communicate(timeout=_SOON_S)

    assert process.returncode == 130, told.decode()
    assert b"Traceback" not in told, told.decode()
    assert len(pids) >= 4  # the broker's two, the simulator's, the worker's
    assert not folder.exists()
    assert occupancy.wait_until(lambda: not any(map(_lives, pids)), 5)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
