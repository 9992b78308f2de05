"""What a transaction function works with, and what it found on its way."""

from collections.abc import Callable
from dataclasses import dataclass, field

import apsw

from worker.store.embedded.options import EmbeddedOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One run of one operation inside a transaction; a repeated run gets a new one.

    `me` is this process's owner token, `now` in microseconds. `alive` tells whether another owner lives.
    `freed` collects the claim keys that were released, `damaged` the jobs whose response body did not
    match its checksum: the caller tells the world after the commit.
    """

    connection: apsw.Connection
    me: str
    now: int
    alive: Callable[[apsw.Connection, str], bool]
    options: EmbeddedOptions
    freed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
