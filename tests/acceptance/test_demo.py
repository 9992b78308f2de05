"""`./dev demo --endpoints` as a person types it, with fewer requests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.house import lower
from tests.faults.vhost import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.processes]

_DEV = """
import sys
from pathlib import Path
from stack import commands, demo
demo._FOLDER = Path(sys.argv[1])
sys.exit(commands.run(commands.find("demo"), sys.argv[2:]))
"""


def test_three_endpoints_slow_failing_and_limited_lose_nothing_and_show_their_shares(
    tmp_path: Path,
) -> None:
    given = {"RABBITMQ_URL", "WARREN_STORE_URL", "OPENAI_BASE_URL"}
    environment = {name: it for name, it in os.environ.items() if name not in given}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DEV, str(tmp_path), "--endpoints", "--limit", "36"],
            cwd=ROOT,
            env=environment,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        lower(tmp_path, tell=lambda _: None, within_s=5)
    assert done.returncode == 0, done.stdout
    assert "lost 0" in done.stdout.splitlines()
    assert "36 requests, 36 answered" in done.stdout
    shown = re.findall(r"^(slow|flaky|limited) +(\d+)% +(\d+)% +(\d+)", done.stdout, re.MULTILINE)
    last = {name: (int(weight), int(calls)) for name, weight, _, calls in shown[-3:]}
    assert {name: weight for name, (weight, _) in last.items()} == {
        "slow": 25,
        "flaky": 25,
        "limited": 50,
    }
    # Each was called, and the workers counted every call that the auditor found in the simulators' logs.
    assert all(calls for _, calls in last.values())
    (audited,) = re.findall(r"(\d+) upstream\s+calls;", done.stdout)
    assert sum(calls for _, calls in last.values()) == int(audited)
