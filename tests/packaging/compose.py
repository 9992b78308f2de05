"""The compose file, read."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.faults.vhost import ROOT

FILE = ROOT / "docker-compose.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]

_UNITS = {"h": 3600, "m": 60, "s": 1}
_BYTES = {"K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True)
class Mount:
    """A file of this project, or made by `./dev secrets`, and where a service sees it."""

    file: Path
    target: str


def mounts(service: str, store: str = "") -> list[Mount]:
    """Give the files that a service gets as configs and secrets; `store` is the variable STORE, "": it is not set."""
    found = []
    for kind, folder in (("configs", "/"), ("secrets", "/run/secrets/")):
        for each in SERVICES[service].get(kind, []):
            source = each if isinstance(each, str) else each["source"]
            target = folder + each if isinstance(each, str) else each["target"]
            file = DOCUMENT[kind][source]["file"]
            file = file.replace("${STORE:+-$STORE}", f"-{store}" if store else "")
            assert "$" not in file
            found.append(Mount(ROOT / file, target))
    return found


def duration(text: str) -> timedelta:
    """Read a duration as compose writes it: 1m30s."""
    parts = re.findall(r"(\d+)([hms])", text)
    assert "".join(number + unit for number, unit in parts) == text
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def size(text: str) -> int:
    """Read a size as compose writes it: 512M, of 1024 x 1024 bytes."""
    return int(text[:-1]) * _BYTES[text[-1]]
