from pathlib import Path

import pytest

from stack import prometheuspackages
from stack.errors import PrometheusNotFound
from stack.prometheuspackages import Prometheus, find_prometheus, installed


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that the search path has."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prometheuspackages, "_FOLDERS", ())
    return tmp_path


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_without_apt_the_error_says_what_to_install(bare: Path) -> None:
    with pytest.raises(PrometheusNotFound, match="install Prometheus"):
        find_prometheus(bare / "cache")


def test_what_is_installed_is_taken_if_both_programs_are_there(bare: Path) -> None:
    server = program(bare, "prometheus")
    assert installed() is None
    promtool = program(bare, "promtool")
    assert find_prometheus(bare / "cache") == Prometheus(server=server, promtool=promtool)
    assert not (bare / "cache").exists()
