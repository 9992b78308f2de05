"""What a run found: a row per experiment, and all that is needed to repeat it."""

import platform
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from tests.chaos.experiment import Experiment, Measured
from tests.faults.vhost import ROOT


class Verdict(StrEnum):
    """What became of a promise; only the first is good."""

    KEPT = "kept"
    BROKEN = "BROKEN"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One experiment's yield: what it measured, or the error that ended it. `folder` is there unless kept."""

    experiment: Experiment
    seconds: float
    measured: Measured | None
    error: str | None
    folder: Path

    @property
    def verdict(self) -> Verdict:
        """Whether the promise was kept, broken, or could not be tried to the end."""
        if self.measured is None:
            return Verdict.FAILED
        return Verdict.BROKEN if self.measured.broken else Verdict.KEPT

    @property
    def kept(self) -> bool:
        """Whether every bound held."""
        return self.verdict is Verdict.KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run. `versions` are of all that took part."""

    rows: tuple[Row, ...]
    at: datetime
    seed: int
    minutes: float
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls, rows: Sequence[Row], *, seed: int, minutes: float, brokers: Mapping[str, str]
    ) -> Self:
        """Give the result of these rows, here and now."""
        versions = {"Warren": _warren(), "Python": platform.python_version()}
        if brokers:
            versions["RabbitMQ"] = ", ".join(sorted(set(brokers.values()), key=_order))
        for row in rows:
            versions |= row.measured.versions if row.measured else {}
        return cls(
            rows=tuple(rows),
            at=datetime.now(UTC),
            seed=seed,
            minutes=minutes,
            versions=versions,
        )

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(row.kept for row in self.rows)


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _warren() -> str:
    """Give the version and, in a clone, the commit; `+` says that something in it was changed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = project["project"]["version"]
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return version
    commit = done.stdout.strip()
    return f"{version} ({commit})" if commit else version
