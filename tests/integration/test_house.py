"""`./dev up` with another number of workers has that number, where it says they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.house import lower, ready_url
from stack.services import Service, answers
from tests.conftest import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.processes]

_DEV = """
import sys
from pathlib import Path
from stack import commands, living
living._FOLDER = Path(sys.argv[1])
living.ROOT = living._FOLDER.parent
sys.exit(commands.run(commands.find(sys.argv[2]), sys.argv[3:]))
"""


def _dev(folder: Path, *arguments: str) -> str:
    environment = {name: it for name, it in os.environ.items() if name != "RABBITMQ_URL"}
    return subprocess.run(
        [sys.executable, "-c", _DEV, str(folder), *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _ports(told: str) -> list[int]:
    return [int(port) for port in re.findall(r"worker-\d +running +http://127.0.0.1:(\d+)/", told)]


def test_up_with_more_or_fewer_workers_has_these_and_tells_their_ports(tmp_path: Path) -> None:
    try:
        (first,) = _ports(_dev(tmp_path, "up", "--workers", "1"))
        kept, second = _ports(_dev(tmp_path, "up", "--workers", "2"))
        assert kept == first
        assert _ports(_dev(tmp_path, "status")) == [first, second]
        assert all(answers(ready_url(port)) for port in (first, second))
        told = _dev(tmp_path, "up", "--workers", "1")
        assert "stopping worker-2" in told
        assert _ports(told) == _ports(_dev(tmp_path, "status")) == [first]
        assert not Service(folder=tmp_path / "worker-2").alive
    finally:
        lower(tmp_path, tell=lambda _: None, within_s=5)
