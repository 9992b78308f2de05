"""The output and the error file: a whole line at a time, so that a kill tears at most the last one."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from worker.cli.batches.results import RESULT_BEGINS, Done, read_result


class OutputRefused(Exception):  # noqa: N818  # it says what happened
    """The output cannot be written to as it is; nothing in it was changed."""


class LinesFile:
    """Appends lines to a descriptor that it owns; each is with the operating system before `append` returns.

    So a killed process loses none. `sync` brings them to the disk.
    """

    def __init__(self, descriptor: int, *, name: str, on_disk: bool = True) -> None:
        self._descriptor = descriptor
        self._on_disk = on_disk
        self._dirty = False
        self.name = name

    @classmethod
    def emptied(cls, path: Path) -> Self:
        """Open a file, made or emptied."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        return cls(os.open(path, flags, 0o666), name=str(path))

    @classmethod
    def stream(cls, descriptor: int, *, name: str) -> Self:
        """Write to what is open already, such as standard output."""
        return cls(os.dup(descriptor), name=name, on_disk=False)

    def append(self, line: bytes) -> None:
        """Write one line.

        Raises:
            OSError: it could not be written, or only in part, as on a full disk.
        """
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._dirty = True

    def sync(self) -> None:
        """Bring what was written to the disk, if it is a file."""
        if self._dirty and self._on_disk:
            self._dirty = False
            try:
                os.fsync(self._descriptor)
            except OSError:
                self._dirty = True  # the last one, at the end, tells if it still cannot be
                raise

    def close(self) -> None:
        """Close the descriptor, which also unlocks it."""
        os.close(self._descriptor)


class ResultsFile(LinesFile):
    """The output of a batch: locked against a second run, and continued where it ends."""

    @classmethod
    def continued(cls, path: Path) -> Self:
        """Open and lock it, made if it is not there.

        Raises:
            OutputRefused: another run has it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OutputRefused(f"another `warren batch run` is writing {path} now") from None
        return cls(descriptor, name=str(path))

    def results(self) -> Iterator[Done]:
        """Give what is there. A last line that a kill has torn is cut off, so that it is written again whole.

        Raises:
            OutputRefused: a line is no result, so this is another kind of file.
        """
        whole = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            for number, line in enumerate(file, 1):
                torn = not line.endswith(b"\n")
                done = None if torn else read_result(line)
                if torn and RESULT_BEGINS.startswith(line[: len(RESULT_BEGINS)]):
                    break
                if done is None:
                    raise OutputRefused(
                        f"line {number} of {self.name} is no result of a batch; give another output, or mend it"
                    )
                yield done
                whole += len(line)
        os.ftruncate(self._descriptor, whole)
