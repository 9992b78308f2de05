"""The ledger's scripts as this process runs them: what every run is given besides its own arguments."""

import asyncio
from typing import Any

from worker.ports import Clock
from worker.store.instants import span_us, to_us
from worker.store.redis.connection import Part, RedisConnection
from worker.store.redis.scripts import LedgerScripts, Script


class Procedures:
    """Runs scripts under this process's token, its clock, the store's lifetimes and its lease."""

    def __init__(
        self, connection: RedisConnection, scripts: LedgerScripts, owner: str, *, clock: Clock
    ) -> None:
        self.scripts = scripts
        self.owner = owner
        self.connection = connection
        self._clock = clock
        self._named = 0
        options = connection.options
        self._spans = tuple(
            span_us(span)
            for span in (
                options.record_ttl,
                options.result_ttl,
                options.answer_ttl,
                options.lease,
            )
        )

    def submit(self, script: Script, *arguments: Part) -> asyncio.Future[Any]:
        """Queue a run; cancelling the future may come too late. Errors: as `RedisConnection.run`."""
        return self.connection.submit(
            script, self.owner, to_us(self._clock.now()), *self._spans, *arguments
        )

    def name(self) -> str:
        """Give a name that no other operation has: under it one that is repeated is known again."""
        self._named += 1
        return f"{self.owner}/{self._named}"
