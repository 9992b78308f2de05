"""What one measurement found, as the JSON document that tables, plots, the page and the targets are made of."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import SHARES, Figures, as_json
from benchmarks.measurements import MEASUREMENTS, Task

Document = Mapping[str, Any]
Row = Mapping[str, Any]

_PREFIX: Final = "bench-"
_FILES: Final = frozenset({"--json", "--profile"})


def document(
    task: Task, rounds: Mapping[str, Sequence[Figures]], arguments: Sequence[str]
) -> Document:
    """Give the document; an entrant without a round was left out. Where its files went is not in the command that it tells."""
    cores = os.cpu_count() or 1
    entrants = {each.key: each for each in task.entrants}
    return {
        "measurement": task.name,
        "command": " ".join(["./dev bench", *_without_files(arguments)]),
        "jobs": task.sizes.jobs,
        "upstream_ms": task.sizes.latency_s * 1000,
        "upstream_jitter": task.sizes.jitter,
        "rounds": task.sizes.rounds,
        "machine": {"cores": cores, "python": platform.python_version()},
        "shares": list(SHARES),
        "left_out": [entrants[key].title for key in entrants if not rounds.get(key)],
        "contestants": [
            as_json(key, entrants[key].course.in_flight, figures, cores)
            | {
                "contestant": entrants[key].contestant.name,
                "title": entrants[key].title,
                "what": entrants[key].contestant.title,
                "jobs": entrants[key].course.jobs,
                "processes": entrants[key].course.processes,
                "backlog": entrants[key].course.backlog,
            }
            for key, figures in rounds.items()
            if figures
        ],
    }


def _without_files(arguments: Sequence[str]) -> list[str]:
    kept, after = [], ""
    for each in arguments:
        if after not in _FILES and each.partition("=")[0] not in _FILES:
            kept.append(each)
        after = each
    return kept


def path_of(folder: Path, name: str) -> Path:
    """Give where a measurement's document is kept."""
    return folder / f"{_PREFIX}{name}.json"


def kept(folder: Path) -> dict[str, Document]:
    """Give the documents that are kept in a folder, by measurement."""
    paths = {name: path_of(folder, name) for name in MEASUREMENTS}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in paths.items()
        if path.exists()
    }


def write(path: Path, found: object) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def row(found: Document, **wanted: str | int) -> Row | None:
    """Give the first contestant whose object has these values; None: there is none."""
    rows: Sequence[Row] = found["contestants"]
    return next(
        (each for each in rows if all(each.get(key) == value for key, value in wanted.items())),
        None,
    )
