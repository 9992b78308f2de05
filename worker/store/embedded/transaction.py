"""What a transaction function of the ledger works with, and what it found on its way."""

from collections.abc import Callable
from dataclasses import dataclass, field

import apsw

from worker.store.embedded.books import Books
from worker.store.embedded.jobs import Jobs
from worker.store.embedded.options import EmbeddedOptions


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One run of the ledger's operations in one transaction; a repeated run gets a new one.

    `jobs` are the jobs' rows: the way of what every job does. `me` is this process's owner token, `now` in microseconds. `alive` tells whether another owner lives.
    `renewed`: this process's lease was written anew. `freed` collects the claim keys that were released, `damaged` the jobs whose response body did not
    match its checksum: the world is told after the commit.
    """

    books: Books
    jobs: Jobs
    me: str
    now: int
    alive: Callable[[apsw.Connection, str], bool]
    options: EmbeddedOptions
    renewed: bool = False
    freed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def connection(self) -> apsw.Connection:
        """The tables themselves: the way of what is seldom done; see `Books.straight`."""
        return self.books.straight()

    @property
    def reading(self) -> apsw.Connection:
        """The tables themselves, to read alone; see `Books.reading`."""
        return self.books.reading()
