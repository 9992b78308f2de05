"""The `Ledger` port over the embedded file: each method hands one transaction function to the file."""

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from producer_sdk.wire import Dedupe
from worker.core.bill import NO_BILL, Bill
from worker.core.events import Trouble
from worker.core.model import (
    AskAnswer,
    Asked,
    Beginning,
    CalledOff,
    Decided,
    Failed,
    Follow,
    Found,
    Job,
    Outcome,
    Park,
    Started,
    Submission,
    Terminal,
    Work,
)
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.ports import Clock, Listener
from worker.store.embedded import (
    asking,
    beginning,
    billing,
    calling_off,
    claims,
    settling,
    standing,
)
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.books import Books
from worker.store.embedded.cache import EmbeddedCache, Entry
from worker.store.embedded.carrying import carry
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.jobs import Jobs
from worker.store.embedded.options import EmbeddedOptions
from worker.store.embedded.owners import Owner
from worker.store.embedded.rows import Claim
from worker.store.embedded.transaction import Transaction
from worker.store.instants import from_us, to_us
from worker.store.watch import Watch

T = TypeVar("T")
# An embedded store cannot notify other processes: a follower learns of their releases this late.
_POLL_S: Final = 0.05


class EmbeddedLedger:
    """What is known of every job, in a file that all worker processes of a host share.

    It uses the file and the owner that `EmbeddedStore` opens and closes, and reads its cache. A `begin` whose caller is
    cancelled while it runs is taken back: the claim is released, the attempt and the charges are not counted.

    Claims are fenced by process, not by call: a process must not begin a job while a call of its own for
    that job still runs. Else, once that call's claim was lost and won back, its end would release the
    claim of the second one.
    """

    begins_at_once: Final = True

    def __init__(
        self,
        file: EmbeddedFile,
        owner: Owner,
        *,
        clock: Clock,
        listener: Listener,
        options: EmbeddedOptions,
        cache: EmbeddedCache,
    ) -> None:
        self._file = file
        self._owner = owner
        self._cache = cache
        self._clock = clock
        self._listener = listener
        self._options = options
        self._watch = Watch(self._held, poll_s=_POLL_S)
        self._renewed = float("-inf")  # when the lease was renewed here last

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        """Tell what was decided for this delivery already, or what the cache keeps; None: nothing, it may go on."""
        try:
            found = await self._file.join(
                lambda books: self._find(books, job, cached=cached),
                writes=False,
                ahead=Ahead(job.id, fingerprint=job.fingerprint if cached else None),
            )
        except StoreUnavailable as error:
            if cached and self._cache.may_be_damaged(error):
                return await self.find(job)
            raise
        return await self._cache.given(found) if isinstance(found, Entry) else found

    def _find(self, books: Books, job: Job, *, cached: bool) -> Decided | CalledOff | Entry | None:
        found = standing.find(self._in(books), job)
        if found is None and cached:
            return self._cache.look(books, job.fingerprint)
        return found

    async def begin(
        self,
        job: Job,
        *,
        max_attempts: int,
        terms: Terms | None = None,
        cached: bool | None = None,
    ) -> Beginning:
        """Claim the job's call and count the attempt and its terms, or say why not."""

        def begin(books: Books) -> Beginning | Entry:
            found = None if cached is None else self._find(books, job, cached=cached)
            if found is not None:
                return found
            transaction = self._in(books)
            begun = beginning.begin_on(terms, transaction, job, max_attempts, clock=self._clock)
            if isinstance(begun, Started):
                self._keep_lease(transaction)
            return begun

        money = None if terms is None else terms.reservation
        ahead = Ahead(
            job.id,
            job.submission.id,
            job.claim_key,
            answer=job.dedupe is not Dedupe.OFF,
            fingerprint=job.fingerprint if cached else None,
            reservation=None if money is None else money.name,
        )
        running = self._file.join(begin, ahead=ahead)
        try:
            begun = await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(partial(self._give_back, job))
            raise
        except StoreUnavailable as error:
            if not cached or not self._cache.may_be_damaged(error):
                raise
        else:
            if not isinstance(begun, Entry):
                return begun
            if (kept := await self._cache.given(begun)) is not None:
                return kept
        # The cache cannot give what it seems to keep.
        return await self.begin(job, max_attempts=max_attempts, terms=terms, cached=False)

    async def end(
        self,
        job: Job,
        outcome: Outcome,
        settlement: Terminal,
        *,
        work: Work,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided | Follow:
        """Record outcome and settlement of the run together, and say who has to hear."""

        def end(books: Books) -> Decided | Follow:
            transaction = self._in(books)
            decided = settling.end(
                transaction, job, outcome, settlement, work=work, claimed=claimed
            )
            billing.settle(transaction, bill, outcome, clock=self._clock)
            return decided

        return await self._file.join(end, ahead=Ahead(job.id, job.submission.id, ends=True))

    async def park(
        self,
        job: Job,
        settlement: Park,
        until: datetime,
        *,
        work: Work,
        why: Failed | None,
        claimed: bool,
        bill: Bill = NO_BILL,
    ) -> Decided:
        """Record that this generation waits as a parked copy."""

        def park(books: Books) -> Decided:
            transaction = self._in(books)
            decided = settling.park(
                transaction, job, settlement, until, work=work, why=why, claimed=claimed
            )
            billing.settle(transaction, bill, why, clock=self._clock)
            return decided

        return await self._file.join(park, ahead=Ahead(job.id, job.submission.id, ends=True))

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        """Note that a settlement was carried out: the broker has confirmed what it publishes."""
        await self._file.join(
            lambda books: carry(self._in(books), job, heard, letter=letter), ahead=Ahead(job.id)
        )

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        """Return as soon as nobody alive holds the claim, at the latest after `at_most`."""
        await self._watch.until_free(claim_key, at_most)

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of all who followed the claim; None: nobody did."""
        found = await self._file.run(
            lambda connection: (
                connection.execute(
                    "SELECT wanted_until FROM claims WHERE key = ?", (claim_key,)
                ).get
            ),
            writes=False,
        )
        return None if found is None else from_us(found)

    async def holds(self, job: Job) -> bool:
        """Tell whether this process still may call for the job: it holds the claim, and is not to close the call."""

        def held(transaction: Transaction) -> bool:
            claim = claims.of_job(transaction, job.id)
            if claim is None or claim.owner != transaction.me or claim.run != job.run:
                return False
            if not transaction.renewed:
                # A process that was suspended, or whose store was down, would lose the claim at any moment.
                self._owner.renew(transaction.books.aside)
                transaction.renewed = True
            return not calling_off.closes(transaction, claim)

        return await self._file.join(
            lambda books: held(self._in(books)), ahead=Ahead(job.id, key=job.claim_key)
        )

    async def result(self, asked: Asked) -> AskAnswer:
        """Tell how a job ended, to the asker alone."""
        return await self._run(lambda transaction: asking.result(transaction, asked), writes=False)

    async def cancel(self, asked: Asked) -> AskAnswer:
        """Cancel a job, or say why not."""
        return await self._run(lambda transaction: asking.cancel(transaction, asked))

    async def called_off(self) -> frozenset[str]:
        """Give the ids of jobs whose call this process makes, and should close."""
        return await self._run(calling_off.mine, writes=False)

    async def close(self) -> None:
        """End all waits; the file stays open."""
        await self._watch.close()

    async def _held(self, keys: Collection[str]) -> frozenset[str]:
        def held(transaction: Transaction) -> frozenset[str]:
            found = transaction.reading.execute(
                "SELECT key, owner, job_id, run, followed FROM claims"
                " WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps(list(keys)),),
            ).fetchall()
            return frozenset(
                claim.key for claim in map(Claim._make, found) if claims.lives(transaction, claim)
            )

        return await self._run(held, writes=False)

    async def _run(self, operation: Callable[[Transaction], T], *, writes: bool = True) -> T:
        return await self._file.join(lambda books: operation(self._in(books)), writes=writes)

    def _in(self, books: Books) -> Transaction:
        """Give what the ledger's operations in one transaction share."""
        facts: Transaction | None = books.facts
        if facts is None:
            facts = books.facts = Transaction(
                books=books,
                jobs=books.page(Jobs),
                me=self._owner.token,
                now=to_us(self._clock.now()),
                alive=self._owner.alive,
                options=self._options,
            )
            books.afterwards.append(partial(self._tell, facts))
        return facts

    def _keep_lease(self, transaction: Transaction) -> None:
        """Renew the lease in front of a call where that is due.

        The renewal of every few seconds waits in the same queue: behind thousands of begins, or after the process was suspended, calls
        would start under a lease that has run out, and others take them over.
        """
        late = self._clock.monotonic() - self._renewed >= self._options.renew_every.total_seconds()
        if late and not transaction.renewed:
            self._owner.renew(transaction.books.aside)
            transaction.renewed = True

    def _tell(self, transaction: Transaction) -> None:
        if transaction.renewed:
            self._renewed = self._clock.monotonic()
        for key in transaction.freed:
            self._watch.wake(key)
        for job_id in transaction.damaged:
            self._listener.tell(
                Trouble(
                    what="a stored response does not match its checksum; it is treated as expired",
                    about=f"job {job_id}",
                    error="checksum mismatch: check the disk",
                )
            )

    def _give_back(self, job: Job, begun: asyncio.Future[Beginning | Entry]) -> None:
        if begun.cancelled() or begun.exception() is not None:
            return
        started = begun.result()
        if not isinstance(started, Started):
            return
        try:
            undone = self._file.join(
                lambda books: beginning.give_back(
                    self._in(books), job, started.taken, clock=self._clock
                )
            )
        except StoreUnavailable:  # closed meanwhile: the claim falls with this process
            return
        undone.add_done_callback(self._note_given_back)

    def _note_given_back(self, undone: asyncio.Future[None]) -> None:
        error = None if undone.cancelled() else undone.exception()
        if error is not None:
            self._listener.tell(
                Trouble(
                    what="a claim that nobody wants could not be released; it falls with this process",
                    about=f"the store {self._file.path}",
                    error=type(error).__name__,
                )
            )
