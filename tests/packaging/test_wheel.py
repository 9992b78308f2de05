"""What is installed is what the project promises: made as a wheel, with nothing but the locked packages beside it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.faults.vhost import ROOT
from tests.packaging.environment import fresh

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it as the Dockerfile does: with the pinned backend, and nothing looked up."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "."]
    subprocess.run(
        [sys.executable, "-m", "pip", *command, str(ROOT)],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def locked(name: str) -> list[str]:
    """Give the packages of a lock that are installed here; markers leave some out."""
    text = (ROOT / f"requirements/{name}.lock").read_text(encoding="utf-8")
    return re.findall(r"^([\w.-]+)==[^;]*?\\$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the Python of an environment with the wheel and the packages of base.lock alone, copied from here."""
    folder = tmp_path_factory.mktemp("base")
    packages = fresh(folder, locked("base"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return folder / "bin/python"


def run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-I", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_the_three_packages_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for package in ("worker", "producer_sdk", "simulator")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert {"worker/py.typed", "producer_sdk/py.typed"} <= held


def test_the_wheel_tells_its_licence_its_extras_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        told = {
            Path(name).name: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name
        }
    assert told["LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0" in told["METADATA"]
    assert re.findall(r"^Provides-Extra: (\w+)$", told["METADATA"], re.MULTILINE) == sorted(
        PROJECT["project"]["optional-dependencies"]
    )
    assert "warren = worker.cli.main:main" in told["entry_points.txt"]


def test_a_producer_needs_the_base_installation_only(base: Path) -> None:
    done = run(
        base,
        "import sys, producer_sdk.testing, producer_sdk.wire\n"
        "from producer_sdk import *\n"
        "print(*sorted(name for name in sys.modules if '.' not in name))",
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert "aio_pika" in imported
    assert not imported & {"worker", "apsw", "click", "httpx", "pyqwest", "structlog", "tenacity"}


def test_the_command_without_its_extra_says_how_to_get_it(base: Path) -> None:
    done = run(base, "from worker.cli.main import main; main()")
    assert done.returncode == 1
    assert "pip install 'warren[worker]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_locks_agree_on_every_version() -> None:
    pins = [
        set(re.findall(r"^([\w.-]+==[^ ;]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in sorted((ROOT / "requirements").glob("*.lock"))
    ]
    assert len(pins) == 5
    # Some packages have a version for each of several Pythons; every lock has the same ones.
    whole = max(pins, key=len)
    for lock in pins:
        names = {pin.partition("==")[0] for pin in lock}
        assert lock >= {pin for pin in whole if pin.partition("==")[0] in names}
        assert not {pin.partition("==")[0] for pin in lock - whole} & {
            pin.partition("==")[0] for pin in whole
        }


def test_the_build_lock_holds_the_build_backend() -> None:
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend in PROJECT["dependency-groups"]["build"]
    assert backend.partition(">")[0] in locked("build")
