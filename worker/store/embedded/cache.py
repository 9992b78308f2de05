"""The `ResponseCache` port over the embedded file: bounded in size, verified when read."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, NamedTuple

import apsw

from producer_sdk.wire import Source
from worker.core.events import Trouble
from worker.core.model import Completed
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store import outcomes
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.rows import LISTED
from worker.store.instants import span_us, to_us

# A use is noted at most so many times in an entry's lifetime: reading stays reading.
_NOTED_USES: Final = 50
# One put makes room by dropping at most so many entries; the next one drops more.
_MOST_DROPPED: Final = 100
_NOT_CACHED: Final = "a response could not be cached; it is answered all the same"
_NOT_READ: Final = "the response cache cannot be read; the call is made"
# After these the pages of everything else may be sound.
_DAMAGED: Final = (apsw.CorruptError, apsw.IOError)


class Entry(NamedTuple):
    """What is kept of a response, as it was read."""

    number: int
    sha256: bytes
    used_at: int
    about: str
    body: bytes


class EmbeddedCache:
    """Completed responses by fingerprint; about the least recently used go first when there is no room.

    A store that cannot be used is a miss: it is told as trouble and never raised.
    """

    def __init__(
        self, file: EmbeddedFile, *, clock: Clock, listener: Listener, options: EmbeddedOptions
    ) -> None:
        self._file = file
        self._clock = clock
        self._listener = listener
        self._options = options

    async def get(self, fingerprint: str) -> Completed | None:
        """Give the response kept under the fingerprint, with `source` CACHE, or None."""
        try:
            entry = await self._file.join(lambda books: self.look(books, fingerprint), writes=False)
        except StoreUnavailable as error:
            self._trouble(_NOT_READ, error)
            return None
        return None if entry is None else await self.given(entry)

    def look(self, books: Books, fingerprint: str) -> Entry | None:
        """Read what is kept, in a transaction; it may be given then."""
        return books.page(Shelf).read(fingerprint, to_us(self._clock.now()))

    def may_be_damaged(self, error: StoreUnavailable) -> bool:
        """Tell whether what failed with this error may do so for the cache's own pages, which is a miss and told."""
        damaged = isinstance(error.__cause__, _DAMAGED)
        if damaged:
            self._trouble(_NOT_READ, error)
        return damaged

    async def given(self, entry: Entry) -> Completed | None:
        """Give the response of what was read; None: it is not what was kept."""
        now = to_us(self._clock.now())
        try:
            if hashlib.sha256(entry.body).digest() != entry.sha256:
                await self._file.run(lambda connection: _drop(connection, entry.number))
                self._trouble("a cached response does not match its checksum; it was dropped")
                return None
            if now - entry.used_at > span_us(self._options.cache_ttl) // _NOTED_USES:
                await self._file.run(lambda connection: _use(connection, entry.number, now))
        except StoreUnavailable as error:
            self._trouble(_NOT_READ, error)
            return None
        return replace(
            outcomes.response(json.loads(entry.about), bytes(entry.body)), source=Source.CACHE
        )

    async def put(self, fingerprint: str, completed: Completed) -> None:
        """Keep the response for the cache's lifetime; too large or no room: keep nothing.

        It is written with what is asked of the store next, mostly the end of the job that it answers.
        """
        now = to_us(self._clock.now())
        try:
            self._file.join(
                lambda books: keep(books, fingerprint, completed, now=now, options=self._options)
            ).add_done_callback(self._noted)
        except StoreUnavailable as error:
            self._trouble(_NOT_CACHED, error)

    def _noted(self, put: asyncio.Future[None]) -> None:
        error = None if put.cancelled() else put.exception()
        if isinstance(error, StoreUnavailable):
            self._trouble(_NOT_CACHED, error)
        elif error is not None:
            raise error

    def _trouble(self, what: str, error: StoreUnavailable | None = None) -> None:
        self._listener.tell(
            Trouble(
                what=what,
                about=f"the store {self._file.path}",
                error="checksum mismatch: check the disk" if error is None else str(error),
            )
        )


class Shelf:
    """The page of the cache: what is put there is written together, and what is not there is seen for many at once."""

    lasts: ClassVar = False  # the total is known only about

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._total: int | None = None
        self._put: dict[str, tuple[Any, ...]] = {}
        self._missed: set[str] = set()

    def look_ahead(self, wanted: Sequence[Ahead]) -> None:
        """See for several fingerprints whether anything is kept; most requests are new."""
        names = {each.fingerprint for each in wanted if each.fingerprint is not None}
        if names:
            found = self._connection.execute(
                f"SELECT fingerprint FROM {LISTED} cache ON fingerprint = listed",  # noqa: S608  # a constant
                (json.dumps(list(names)),),
            )
            self._missed = names.difference(kept for (kept,) in found)

    def read(self, fingerprint: str, now: int) -> Entry | None:
        """Give what is kept under a fingerprint."""
        if fingerprint in self._missed:
            return None
        if fingerprint in self._put:
            self.write()
        found = self._connection.execute(
            "SELECT number, sha256, used_at, about, body FROM cache"
            " WHERE fingerprint = ? AND expires_at > ?",
            (fingerprint, now),
        ).fetchone()
        return None if found is None else Entry._make(found)

    def put(self, values: tuple[Any, ...], *, size: int, bound: int) -> None:
        """Keep a response, in place of the one with its fingerprint; no room: keep nothing."""
        if self._total is None:
            self._total = self._connection.execute("SELECT size FROM cache_total").get
        self._missed.discard(values[0])
        # What is replaced is not taken off before it is written: at the worst room is made a little too soon.
        total: int = self._total + size
        self._put[values[0]] = values
        self._total = total
        if total > bound:
            del self._put[values[0]]
            self.write()
            self._connection.execute("DELETE FROM cache WHERE fingerprint = ?", values[:1])
            if _make_room(self._connection, bound - size):
                self._put[values[0]] = values
                self.write()
            self._total = None

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        self._total = None
        self._missed = set()

    def write(self) -> None:
        """Write what was put."""
        if self._put:
            self._connection.executemany(
                "DELETE FROM cache WHERE fingerprint = ?", [(each,) for each in self._put]
            )
            self._connection.executemany(
                "INSERT INTO cache (fingerprint, size, sha256, used_at, expires_at, about, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                self._put.values(),
            )
            self._put = {}


def keep(
    books: Books, fingerprint: str, completed: Completed, *, now: int, options: EmbeddedOptions
) -> None:
    """Keep a response, in the transaction of these books; see `ResponseCache.put`."""
    size = len(completed.body) + len(fingerprint)
    if size > min(options.cache_entry_bytes, options.cache_bytes):
        return
    about, checksum = books.written(completed)
    expires_at = now + span_us(options.cache_ttl)
    books.page(Shelf).put(
        (fingerprint, size, checksum, now, expires_at, about, completed.body),
        size=size,
        bound=options.cache_bytes,
    )


def _drop(connection: apsw.Connection, number: int) -> None:
    connection.execute("DELETE FROM cache WHERE number = ?", (number,))


def _use(connection: apsw.Connection, number: int, now: int) -> None:
    connection.execute("UPDATE cache SET used_at = ? WHERE number = ?", (now, number))


def _make_room(connection: apsw.Connection, room: int) -> bool:
    """Drop the least recently used until the total is at most `room`; tell whether it is."""
    total: int = connection.execute("SELECT size FROM cache_total").get
    if total <= room:
        return True
    oldest: list[Any] = connection.execute(
        "SELECT number, size FROM cache ORDER BY used_at LIMIT ?", (_MOST_DROPPED,)
    ).fetchall()
    for number, size in oldest:
        _drop(connection, number)
        total -= size
        if total <= room:
            return True
    return False
