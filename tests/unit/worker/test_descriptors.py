import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.worker.settings_samples import Folder, having
from worker import descriptors
from worker.settings import Settings

# In a process of its own: a limit that was lowered cannot be raised again.
_RAISED = """
import resource
from worker import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
descriptors.raise_limit()
descriptors.raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE), descriptors.allowed())
"""


def _settings(folder: Path, concurrency: int) -> Settings:
    return Folder(folder).load(having("tiers.premium", f"concurrency = {concurrency}"))


def test_a_worker_raises_its_own_limit_to_the_hard_one() -> None:
    said = subprocess.run(  # our own Python
        [sys.executable, "-c", _RAISED], capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "(200, 200) 200"


@pytest.mark.parametrize(("hard", "short"), [(10_068, False), (10_067, True)])
def test_each_job_at_once_needs_an_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard: int, *, short: bool
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    told = descriptors.shortage(_settings(tmp_path, 10_000))

    assert (told is not None) is short
    if told is not None:
        assert told.startswith("10067 files may be open, 10004 jobs at once need about 10068")
        assert "LimitNOFILE=20136" in told


def test_no_limit_is_enough_for_any_concurrency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))

    assert descriptors.shortage(_settings(tmp_path, 10_000)) is None


def test_a_system_that_refuses_leaves_the_limit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)

    descriptors.raise_limit()


def test_one_lane_takes_ten_thousand_jobs_and_one_worker_twenty_thousand(tmp_path: Path) -> None:
    settings = Folder(tmp_path).load(
        having("tiers.premium", "concurrency = 10000", "bulk_concurrency = 10000")
    )

    assert descriptors.jobs_at_once(settings) == 20_000
