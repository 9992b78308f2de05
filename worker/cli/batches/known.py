"""Which custom ids have a result already, and which were met in the input. Pure.

Of each only digests are kept: some 200 bytes, whatever its length.
"""

import hashlib
from enum import Enum, auto
from typing import Final

from worker.cli.batches.format import Line
from worker.cli.batches.results import Done

_MET: Final = -1
_ANY: Final = 0


class Standing(Enum):
    """What is known of a line."""

    NEW = auto()
    ANSWERED = auto()
    FAILED = auto()
    REPEATED = auto()
    CHANGED = auto()


class Known:
    """The custom ids of an output, and of the input as far as it was read."""

    def __init__(self) -> None:
        # Custom id's digest -> request's digest and whether it was a success, as one number.
        self._ids: dict[bytes, int] = {}

    def restore(self, done: Done) -> None:
        """Note a result that is in the output."""
        request = _ANY if done.digest is None else done.digest
        self._ids[_digest(done.custom_id)] = request << 1 | done.success

    def meet(self, line: Line) -> Standing:
        """Note a line of the input, and tell what was known of it before.

        `REPEATED`: an earlier line has its custom id. `CHANGED`: the result in the output is another request's.
        """
        key = _digest(line.custom_id)
        known = self._ids.get(key)
        self._ids[key] = _MET
        if known is None:
            return Standing.NEW
        if known == _MET:
            return Standing.REPEATED
        if known >> 1 not in {_ANY, line.digest}:
            return Standing.CHANGED
        return Standing.ANSWERED if known & 1 else Standing.FAILED


def _digest(custom_id: str) -> bytes:
    return hashlib.sha256(custom_id.encode(errors="surrogatepass")).digest()[:16]
