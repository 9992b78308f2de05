"""The `ResponseCache` port over Redis: bounded in size, verified when read."""

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

from producer_sdk.wire import Source
from worker.core.events import Trouble
from worker.core.model import Completed
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store import outcomes
from worker.store.instants import span_us, to_us
from worker.store.redis.connection import RedisConnection, heed
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script, read

# A use is noted at most so many times in an entry's lifetime: reading stays reading.
_NOTED_USES: Final = 50
# One put makes room by dropping at most so many entries; the next one drops more.
_MOST_DROPPED: Final = 100
_NOT_CACHED: Final = "a response could not be cached; it is answered all the same"
_NOT_READ: Final = "the response cache cannot be read; the call is made"

# Refused whole when the server has no memory left; without its first line it would go on once it has dropped something.
_PUT: Final = Script.of("#!lua", read("cache"), read("cacheput"))
_DROP, _BURY = (Script.of(read("cache"), read(name)) for name in ("cachedrop", "cachebury"))


class _Entry(NamedTuple):
    until: int
    about: dict[str, Any]
    body: bytes


def _written(completed: Completed, until: int) -> bytes:
    """Give an entry: a line of JSON about it, and the body as it is."""
    sha256 = hashlib.sha256(completed.body).hexdigest()
    head = json.dumps([until, sha256, json.loads(outcomes.about(completed))])
    return head.encode() + b"\n" + completed.body


def _read(entry: bytes) -> _Entry | None:
    """Give what was written; None: this is something else by now."""
    head, _, body = entry.partition(b"\n")
    try:
        until, sha256, about = json.loads(head)
    except ValueError:
        return None
    return _Entry(until, about, body) if hashlib.sha256(body).hexdigest() == sha256 else None


class RedisCache:
    """Completed responses by fingerprint; about the least recently used go first when there is no room.

    A store that cannot be used is a miss: it is told as trouble and never raised.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        clock: Clock,
        listener: Listener,
        options: RedisOptions,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._listener = listener
        self._options = options

    async def get(self, fingerprint: str) -> Completed | None:
        """Give the response kept under the fingerprint, with `source` CACHE, or None."""
        try:
            looking = self.look(fingerprint)
        except StoreUnavailable as error:
            self._trouble(_NOT_READ, error)
            return None
        return await self.given(fingerprint, looking)

    def look(self, fingerprint: str) -> asyncio.Future[tuple[Any, Any]]:
        """Ask for what is kept, to be `given`; who finds that it is not needed may drop it. Errors: `StoreUnavailable`."""
        looking = asyncio.gather(  # one round trip, with whatever else is asked for now
            self._connection.submit_command("GET", self._key(fingerprint)),
            self._connection.submit_command(
                "ZSCORE", self._connection.key("cache", "used"), fingerprint
            ),
        )
        looking.add_done_callback(heed)
        return looking

    async def given(
        self, fingerprint: str, looking: asyncio.Future[tuple[Any, Any]]
    ) -> Completed | None:
        """Give the response that was asked for, or None."""
        now = to_us(self._clock.now())
        used_key = self._connection.key("cache", "used")
        try:
            entry, used = await looking
            if entry is None:
                return None
            kept = _read(entry)
            if kept is None:
                await self._connection.run(_DROP, fingerprint)
                self._trouble("a cached response does not match its checksum; it was dropped")
                return None
            if kept.until <= now:
                return None
            if now - float(used or 0) > span_us(self._options.cache_ttl) // _NOTED_USES:
                await self._connection.command("ZADD", used_key, "XX", now, fingerprint)
        except StoreUnavailable as error:
            self._trouble(_NOT_READ, error)
            return None
        return replace(outcomes.response(kept.about, kept.body), source=Source.CACHE)

    async def put(self, fingerprint: str, completed: Completed) -> None:
        """Keep the response for the cache's lifetime; too large or no room: keep nothing."""
        if (putting := self.submit(fingerprint, completed)) is not None:
            with suppress(StoreUnavailable):
                await putting

    def submit(self, fingerprint: str, completed: Completed) -> asyncio.Future[Any] | None:
        """Ask for a response to be kept, see `put`; nobody need hear how it ends. None: it is not."""
        options = self._options
        size = len(completed.body) + len(fingerprint)
        if size > min(options.cache_entry_bytes, options.cache_bytes):
            return None
        now, life = to_us(self._clock.now()), options.cache_ttl
        until = now + span_us(life)
        try:
            putting = self._connection.submit(
                _PUT,
                fingerprint,
                size,
                options.cache_bytes,
                _MOST_DROPPED,
                now,
                until,
                max(life // timedelta(milliseconds=1), 1),
                _written(completed, until),
            )
        except StoreUnavailable as error:
            self._trouble(_NOT_CACHED, error)
            return None
        putting.add_done_callback(self._noted)
        return putting

    def _noted(self, putting: asyncio.Future[Any]) -> None:
        error = None if putting.cancelled() else putting.exception()
        if isinstance(error, StoreUnavailable):
            self._trouble(_NOT_CACHED, error)

    async def bury(self) -> bool:
        """Forget some of the entries whose life has ended; tell whether there may be more. Errors: `StoreUnavailable`.

        The server drops their content by itself. This drops what is known of their size.
        """
        now = to_us(self._clock.now())
        dropped: int = await self._connection.run(_BURY, now, _MOST_DROPPED)
        return dropped == _MOST_DROPPED

    def _key(self, fingerprint: str) -> str:
        return self._connection.key("cache", f"={fingerprint}")

    def _trouble(self, what: str, error: StoreUnavailable | None = None) -> None:
        self._listener.tell(
            Trouble(
                what=what,
                about=f"the Redis {self._connection.place}",
                error="checksum mismatch: check its memory and disk"
                if error is None
                else str(error),
            )
        )
