"""Reading what ran: logs of JSON lines, and the workers' ledger."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.core.letters import Explanation
from worker.store.embedded.archive import EmbeddedArchive
from worker.store.files import ledger_file


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Give the objects of a file with one JSON object per line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def ledger_of(store: Path) -> list[Explanation]:
    """Give all that a ledger knows of every job."""
    return list(EmbeddedArchive(ledger_file(store)).jobs())


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
