"""What the contract suites share: time by hand, jobs, and a fleet of worker processes on one store."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import apsw

from producer_sdk.wire import Dedupe, Lane, Status, job_id
from worker.core.events import Event
from worker.core.kinds import Kind
from worker.core.lanes import Orders
from worker.core.model import (
    Asked,
    Beginning,
    Completed,
    DeadLetter,
    Ended,
    Failed,
    Found,
    Job,
    Parked,
    Reply,
    Retry,
    Submission,
    Usage,
    Work,
)
from worker.ports import (
    Archive,
    LaneOrders,
    Ledger,
    Limits,
    Rationing,
    ResponseCache,
    Spend,
    SpendBook,
)
from worker.store.embedded import EmbeddedArchive, EmbeddedOptions, EmbeddedStore
from worker.store.embedded.laneorders import OrderBook
from worker.store.embedded.spend import EmbeddedSpendBook

BEGAN = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
ANSWER = Completed(
    body=b'{"answer": 42}',
    endpoint="alpha",
    model="m-1",
    usage=Usage(
        prompt_tokens=3,
        completion_tokens=5,
        cached_tokens=2,
        cache_write_tokens=1,
        hidden_tokens=7,
    ),
    cost=Decimal("0.00000000000000123"),
)
LATER_ANSWER = Completed(body=b'{"answer": 43}', endpoint="beta")
INVALID = Failed(kind=Kind.INVALID_REQUEST, status=400, code="bad", endpoint="alpha")
TIMEOUT = Failed(kind=Kind.TIMEOUT, endpoint="alpha", retry_after=timedelta(seconds=3))
LATE = Failed(kind=Kind.EXPIRED, detail="the deadline passed in the queue")
DONE = Reply(status=Status.COMPLETED)
EXPIRED = Reply(status=Status.EXPIRED)
SOON = timedelta(seconds=10)
# The bounds of a small cache: what all entries may take, and one of them.
SMALL_TOTAL, SMALL_ENTRY = 10_000, 4_000
ONE_CALL = Work(calls=1, upstream=timedelta(milliseconds=250))
NO_CALL = Work()


class HandClock:
    """A clock that moves when the test says so; it serves all workers of a fleet."""

    def __init__(self) -> None:
        self._instant = BEGAN
        self._seconds = 1000.0

    def now(self) -> datetime:
        return self._instant

    def monotonic(self) -> float:
        return self._seconds

    def pass_by(self, span: timedelta) -> None:
        self._instant += span
        self._seconds += span.total_seconds()


class Ear:
    """Keeps what it is told, and tells who waits for it."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self._news = asyncio.Event()

    def tell(self, event: Event) -> None:
        self.heard.append(event)
        self._news.set()

    async def hears(self, kind: type[Event]) -> None:
        """Return when an event of the kind has been heard."""
        async with asyncio.timeout(10):
            while not any(isinstance(event, kind) for event in self.heard):
                self._news.clear()
                await self._news.wait()


class Worker(Protocol):
    """One worker process's side of a store."""

    @property
    def ledger(self) -> Ledger: ...
    @property
    def cache(self) -> ResponseCache: ...
    @property
    def rationing(self) -> Rationing: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def lane_orders(self) -> LaneOrders: ...
    @property
    def spend(self) -> Spend: ...
    async def renew(self) -> bool: ...
    async def sweep(self) -> None: ...


class Fleet(Protocol):
    """Worker processes on one store; every adapter under contract has one."""

    clock: HandClock
    ear: Ear

    async def join(self, *, small: bool = False) -> Worker: ...
    async def kill(self, worker: Worker) -> None: ...
    async def damage_responses(self) -> None: ...
    def archive(self) -> Archive: ...
    def spend_book(self) -> SpendBook: ...
    def order(self, lane: str, orders: Orders, *, now: datetime) -> None: ...
    def change(self, lane: str, to: Callable[[Orders], Orders], *, now: datetime) -> None: ...
    async def spoil_windows(self) -> None: ...
    async def permits(self, lane: str) -> int: ...
    async def close(self) -> None: ...


class EmbeddedFleet:
    """Several embedded stores on one file: to the kernel's locks they are as good as processes."""

    def __init__(self, folder: Path, options: EmbeddedOptions | None = None) -> None:
        self.clock = HandClock()
        self.ear = Ear()
        self.path = folder / "store" / "warren.db"
        self._options = options
        self._living: list[EmbeddedStore] = []

    async def join(self, *, small: bool = False) -> EmbeddedStore:
        options = self._options
        if small:
            options = EmbeddedOptions(cache_bytes=SMALL_TOTAL, cache_entry_bytes=SMALL_ENTRY)
        store = EmbeddedStore(self.path, clock=self.clock, listener=self.ear, options=options)
        await store.open()
        self._living.append(store)
        return store

    async def kill(self, worker: Worker) -> None:
        assert isinstance(worker, EmbeddedStore)
        self._living.remove(worker)
        for task in worker._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await worker.ledger.close()
        await worker._file.close()
        descriptor = worker._owner._descriptor
        assert descriptor is not None
        os.close(descriptor)  # all that the kernel does for a process that dies

    async def damage_responses(self) -> None:
        def damage(connection: apsw.Connection) -> None:
            connection.execute("UPDATE bodies SET body = x'00'; UPDATE cache SET body = x'00'")

        await self._living[0]._file.run(damage)

    def archive(self) -> EmbeddedArchive:
        return EmbeddedArchive(self.path)

    def spend_book(self) -> EmbeddedSpendBook:
        return EmbeddedSpendBook(self.path)

    def change(self, lane: str, to: Callable[[Orders], Orders], *, now: datetime) -> None:
        OrderBook(self.path).change(lane, to, now=now)

    async def spoil_windows(self) -> None:
        """Let every window name a time zone that nobody has."""

        def spoil(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE lanes SET windows = '[\"22:00-06:00 Mars/Olympus\"]' WHERE windows IS NOT NULL"
            )

        await self._living[0]._file.run(spoil)

    async def permits(self, lane: str) -> int:
        """Tell how many starts of a lane are kept."""

        def count(connection: apsw.Connection) -> int:
            counted: int = connection.execute(
                "SELECT count(*) FROM permits WHERE lane = ?", (lane,)
            ).get
            return counted

        return await self._living[0]._file.run(count)

    def order(self, lane: str, orders: Orders, *, now: datetime) -> None:
        OrderBook(self.path).change(lane, lambda _: orders, now=now)

    async def close(self) -> None:
        for store in self._living:
            await store.close()


class JobFields(TypedDict, total=False):
    """The fields of a job that a test may want otherwise."""

    id: str
    tenant: str
    tier: str
    lane: Lane
    body: bytes
    content_hash: str
    dedupe: Dedupe
    submitted_at: datetime
    received_at: datetime
    deadline: datetime
    run: int
    generation: int
    first: bool


def make_job(key: str = "k1", submission: str = "s1", **changes: Unpack[JobFields]) -> Job:
    """Give a first delivery; `changes` replace fields of `Job`."""
    tenant = changes.get("tenant", "acme")
    job = Job(
        id=job_id(tenant, key),
        tenant=tenant,
        key=key,
        tier="small",
        lane=Lane.INTERACTIVE,
        path="/v1/chat/completions",
        model="m",
        body=b'{"model": "m"}',
        content_hash="c1",
        dedupe=Dedupe.OFF,
        priority=4,
        submission=Submission(id=submission, reply_to=f"{tenant}.{submission}"),
        submitted_at=BEGAN - timedelta(seconds=2),
        received_at=BEGAN,
        deadline=BEGAN + timedelta(hours=1),
    )
    return replace(job, **changes)


async def complete(ledger: Ledger, job: Job, outcome: Completed = ANSWER) -> Ended:
    """Begin a job, end it completed, and give what the ledger said."""
    await ledger.begin(job, max_attempts=5)
    return as_ended(await ledger.end(job, outcome, DONE, work=ONE_CALL, claimed=True))


async def dead_letter(ledger: Ledger, job: Job, why: Failed = INVALID) -> Ended:
    """Begin a job, end it as a dead letter, and give what the ledger said."""
    await ledger.begin(job, max_attempts=5)
    letter = DeadLetter(reason=why.kind)
    return as_ended(await ledger.end(job, why, letter, work=ONE_CALL, claimed=True))


async def park(ledger: Ledger, job: Job) -> Parked:
    """Park a job whose call we hold for `SOON`, after a failure."""
    parked = await ledger.park(
        job, Retry(after=SOON), BEGAN + SOON, work=ONE_CALL, why=TIMEOUT, claimed=True
    )
    assert isinstance(parked, Parked)
    return parked


async def carry_all(ledger: Ledger, job: Job, ended: Ended) -> None:
    await ledger.carried(job, ended.hear, letter=ended.letter_due)


def asked(
    job: Job, *, tenant: str | None = "acme", by_key: bool = False, ask: str = "ask"
) -> Asked:
    """Give an ask about a job, by default of its own tenant."""
    asker = Submission(id=ask, reply_to="acme.asker")
    return Asked(job_id=job.id, tenant=tenant, submission=asker, by_key=by_key)


def as_ended(decided: Found | Beginning | None) -> Ended:
    assert isinstance(decided, Ended), decided
    return decided


def ids(submissions: Sequence[Submission]) -> set[str]:
    return {submission.id for submission in submissions}
