"""The input in lines of bounded length, whatever its size: a file, or a stream that pauses."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer_sdk.request import MAX_BODY_BYTES

# A body can be written with escapes, which make it longer than it is sent.
LONGEST_LINE: Final = 2 * MAX_BODY_BYTES
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A file's number of lines, and a digest of its bytes in hex."""

    lines: int
    digest: str


def survey(path: Path) -> Survey:
    """Read a file once, from end to end."""
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return Survey(lines=lines + (last != b"\n"), digest=digest.hexdigest())


class Splitter:
    """Cuts chunks into numbered lines; of a line longer than `longest` only the number is kept."""

    def __init__(self, *, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._number = 0
        self._kept = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Give the lines that end in this chunk, without their ends; None for one that is too long."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._keep(chunk, start, end)
            yield self._taken()
            start = end + 1
        self._keep(chunk, start, len(chunk))

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """Give the last line if nothing ended it."""
        if self._kept or self._too_long:
            yield self._taken()

    def _keep(self, chunk: bytes, start: int, end: int) -> None:
        if len(self._kept) + end - start > self._longest:
            self._too_long = True
            self._kept.clear()
        elif not self._too_long:
            self._kept += memoryview(chunk)[start:end]

    def _taken(self) -> tuple[int, bytes | None]:
        self._number += 1
        line = None if self._too_long else bytes(self._kept)
        self._kept.clear()
        self._too_long = False
        return self._number, line


async def numbered_lines(descriptor: int) -> AsyncGenerator[tuple[int, bytes | None], None]:
    """Give the numbered lines of what a descriptor reads; waiting for a stream holds up nothing else."""
    waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    splitter = Splitter()
    while chunk := await _chunk(descriptor, waits=waits):
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.end():
        yield line


async def _chunk(descriptor: int, *, waits: bool) -> bytes:
    if waits:
        await _readable(descriptor)
    else:
        await asyncio.sleep(0)  # a long run of lines that need nothing must not stop the replies
    return os.read(descriptor, _CHUNK)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:
        return  # what cannot be waited for, such as /dev/null, never pauses
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
