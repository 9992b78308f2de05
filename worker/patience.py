"""The stores as the line wants them: a ledger that waits until it can answer, a cache that may know nothing.

Warren fails closed: no call is made without a ledger. A delivery that needs it waits here, unsettled, and
with as many of them as a consumer has prefetched the broker hands over no more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from worker.core.events import Trouble
from worker.core.model import (
    AskAnswer,
    Asked,
    Beginning,
    CalledOff,
    Completed,
    Decided,
    Failed,
    Follow,
    Job,
    Outcome,
    Park,
    Submission,
    Terminal,
    Work,
)
from worker.core.rations import NoPermit, Permit
from worker.errors import StoreUnavailable
from worker.ports import Ledger, Listener, Rationing, ResponseCache

T = TypeVar("T")

_PAUSE_S: Final = 1.0


class _Patient:
    """Repeats what the store could not do, until it can; only cancelling ends the wait."""

    def __init__(self, listener: Listener, *, pause_s: float = _PAUSE_S) -> None:
        self.listener = listener
        self._pause_s = pause_s
        self._stuck = 0

    @property
    def answering(self) -> bool:
        """Tell whether nothing waits for the store to come back."""
        return self._stuck == 0

    async def _until_done(self, operation: Callable[[], Awaitable[T]]) -> T:
        try:
            return await operation()
        except StoreUnavailable as error:
            self._tell(error)
        self._stuck += 1
        try:
            while True:
                await asyncio.sleep(self._pause_s)
                try:
                    return await operation()
                except StoreUnavailable as error:
                    self._tell(error)
        finally:
            self._stuck -= 1

    def _tell(self, error: StoreUnavailable) -> None:
        self.listener.tell(
            Trouble(
                what="the ledger is unavailable; jobs wait, no call is made without it",
                about="store",
                error=str(error),
            )
        )


class PatientRationing(_Patient):
    """A `Rationing` that waits for its store: without a permit no call is made."""

    def __init__(
        self, rationing: Rationing, listener: Listener, *, pause_s: float = _PAUSE_S
    ) -> None:
        super().__init__(listener, pause_s=pause_s)
        self.rationing = rationing

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        """Give a permit, or say how long to wait; see `Rationing.permit`."""
        return await self._until_done(lambda: self.rationing.permit(lane, per_minute=per_minute))

    async def give_back(self, lane: str, permit: Permit) -> None:
        """Take back an unused permit; see `Rationing.give_back`."""
        await self._until_done(lambda: self.rationing.give_back(lane, permit))


class PatientLedger(_Patient):
    """A `Ledger` that waits for its store."""

    def __init__(self, ledger: Ledger, listener: Listener, *, pause_s: float = _PAUSE_S) -> None:
        super().__init__(listener, pause_s=pause_s)
        self.ledger = ledger

    async def find(self, job: Job) -> Decided | CalledOff | None:
        """Tell what was decided; see `Ledger.find`."""
        return await self._until_done(lambda: self.ledger.find(job))

    async def begin(self, job: Job, *, max_attempts: int) -> Beginning:
        """Claim and count, or say why not; see `Ledger.begin`."""
        return await self._until_done(lambda: self.ledger.begin(job, max_attempts=max_attempts))

    async def end(
        self, job: Job, outcome: Outcome, settlement: Terminal, *, work: Work, claimed: bool
    ) -> Decided | Follow:
        """Record the run's end; see `Ledger.end`."""
        return await self._until_done(
            lambda: self.ledger.end(job, outcome, settlement, work=work, claimed=claimed)
        )

    async def park(
        self,
        job: Job,
        settlement: Park,
        until: datetime,
        *,
        work: Work,
        why: Failed | None,
        claimed: bool,
    ) -> Decided:
        """Record that the generation waits; see `Ledger.park`."""
        return await self._until_done(
            lambda: self.ledger.park(job, settlement, until, work=work, why=why, claimed=claimed)
        )

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        """Note that a settlement was carried out; see `Ledger.carried`."""
        await self._until_done(lambda: self.ledger.carried(job, heard, letter=letter))

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        """Wait for the claim; see `Ledger.released`."""
        await self._until_done(lambda: self.ledger.released(claim_key, at_most=at_most))

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of the followers; see `Ledger.wanted_until`."""
        return await self._until_done(lambda: self.ledger.wanted_until(claim_key))

    async def holds(self, job: Job) -> bool:
        """Tell whether the claim is still ours; see `Ledger.holds`."""
        return await self._until_done(lambda: self.ledger.holds(job))

    async def result(self, asked: Asked) -> AskAnswer:
        """Tell how a job ended; see `Ledger.result`."""
        return await self._until_done(lambda: self.ledger.result(asked))

    async def cancel(self, asked: Asked) -> AskAnswer:
        """Cancel a job; see `Ledger.cancel`."""
        return await self._until_done(lambda: self.ledger.cancel(asked))

    async def called_off(self) -> frozenset[str]:
        """Give the jobs whose calls are to be closed; see `Ledger.called_off`."""
        return await self._until_done(self.ledger.called_off)


@dataclass(frozen=True, slots=True)
class TolerantCache:
    """A `ResponseCache` that answers a miss, and keeps nothing, while its store is unavailable."""

    cache: ResponseCache
    listener: Listener

    async def get(self, fingerprint: str) -> Completed | None:
        """Give what is kept; see `ResponseCache.get`."""
        try:
            return await self.cache.get(fingerprint)
        except StoreUnavailable as error:
            self._tell(error)
            return None

    async def put(self, fingerprint: str, completed: Completed) -> None:
        """Keep a response; see `ResponseCache.put`."""
        try:
            await self.cache.put(fingerprint, completed)
        except StoreUnavailable as error:
            self._tell(error)

    def _tell(self, error: StoreUnavailable) -> None:
        self.listener.tell(
            Trouble(
                what="the response cache is unavailable; going on without it",
                about="store",
                error=str(error),
            )
        )
