"""Responses as they are written: the ledger and the cache keep the same one, mostly in one transaction."""

import hashlib
from typing import ClassVar

import apsw

from worker.core.model import Completed
from worker.store import outcomes


class Written:
    """What is written of each response of a transaction besides its body: worked out once."""

    lasts: ClassVar = False

    def __init__(self, connection: apsw.Connection) -> None:
        del connection  # a page like the others, with nothing in the tables
        self._known: dict[int, tuple[Completed, str, bytes]] = {}

    def of(self, completed: Completed) -> tuple[str, bytes]:
        """Give all of a response but its body as text, and its body's checksum."""
        known = self._known.get(id(completed))
        if known is None:
            checksum = hashlib.sha256(completed.body).digest()
            known = self._known[id(completed)] = (completed, outcomes.about(completed), checksum)
        return known[1], known[2]

    def write(self) -> None:
        """Write nothing: others do."""

    def forget(self) -> None:
        """Know it all the same: it is in no table."""
