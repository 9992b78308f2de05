"""Reading what ran: logs of JSON lines, and the workers' ledger."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.core.letters import Explanation
from worker.settings import load
from worker.stores import archive


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Give the objects of a file with one JSON object per line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def call_lines(logs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Give the lines of simulators' logs of calls, one log after the other.

    Each counts its calls from one. So an end belongs to the latest start of its number, as `read_calls` takes it.
    """
    for log in logs:
        yield from json_lines(log)


def ledger_of(config: Path) -> list[Explanation]:
    """Give all that the ledger knows of every job, in the store that a workers' configuration names."""
    return list(archive(load(config, {}).store).jobs())


class Journal:
    """A log that is appended line by line, each handed to the system before `note` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def note(self, **line: str | float | None) -> None:
        """Append one object."""
        self._file.write(json.dumps(line) + "\n")
