"""A line on a real ledger, with an upstream and deliveries that tests script and watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from producer_sdk.wire import CompletionReply
from tests.contract.world import ANSWER, Ear, HandClock
from worker.core.bill import NO_BILL, Bill
from worker.core.events import TierPaused
from worker.core.lanes import Closed
from worker.core.limits import NOTHING_TAKEN, Charge, Full, Meter, Taken
from worker.core.model import (
    AskAnswer,
    Asked,
    Attempted,
    Beginning,
    Decided,
    Failed,
    Follow,
    Found,
    HistoryEntry,
    Job,
    Outcome,
    Park,
    Record,
    Submission,
    Terminal,
    Work,
)
from worker.core.rations import NoPermit, Permit
from worker.core.retry import RetryPolicy
from worker.core.seats import NoSeat, Seat, Unready
from worker.core.terms import Terms
from worker.errors import StoreUnavailable
from worker.outage import Outage
from worker.patience import PatientLedger
from worker.pipeline import Line
from worker.ports import LaneGate, Ledger, MayCall
from worker.slots import LaneSlots
from worker.store.embedded import EmbeddedStore
from worker.unrecorded import LateRecords, Spawn

CONCURRENCY = 4
ONE_REQUEST = Charge(meter=Meter(name="endpoint:fake:requests", limit=600), amount=1)
COUNTED = Taken(charges=(ONE_REQUEST,), slot=0)


class Seats:
    """What an upstream says before a call that always has a seat for everybody."""

    def flaw(self, job: Job) -> Failed | None:
        del job
        return None

    def unready(self, job: Job) -> Unready | None:
        del job
        return None

    def propose(self, job: Job) -> Seat | NoSeat | None:
        del job
        return None

    def refused(self, seat: Seat, full: Full) -> None:
        del seat, full

    def stands(self, seat: Seat) -> bool:
        del seat
        return True

    async def seat(self, job: Job) -> Seat | NoSeat:
        return Seat(endpoint="fake", model=job.model)

    def leave(self, seat: Seat) -> None:
        del seat


@dataclass(slots=True)
class FakeUpstream(Seats):
    """Answers with `outcomes` in order, the last one for good; waits for `gate` before each."""

    outcomes: list[Outcome] = field(default_factory=lambda: [ANSWER])
    calls: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ready: datetime | None = None
    readiness: Callable[[Job], Unready | None] | None = None
    flawed: Failed | None = None
    no_seats: list[NoSeat | StoreUnavailable] = field(default_factory=list)
    counted: bool = False
    due: tuple[Charge, ...] = ()
    fallen: bool = False
    full: list[Full] = field(default_factory=list)
    seated: list[str] = field(default_factory=list)
    given: list[Seat] = field(default_factory=list)
    left: list[Seat] = field(default_factory=list)
    took: list[Seat | None] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    bug: Exception | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    def flaw(self, job: Job) -> Failed | None:
        del job
        return self.flawed

    def unready(self, job: Job) -> Unready | None:
        assert job.tier == "small"
        if self.readiness is not None:
            return self.readiness(job)
        return None if self.ready is None else Unready(until=self.ready)

    def propose(self, job: Job) -> Seat | NoSeat | None:
        if self.counted or self.no_seats or self.full:  # so permits are scarce
            return None
        seat = Seat(endpoint="fake", model=job.model, due=self.due)
        self.given.append(seat)
        return seat

    def refused(self, seat: Seat, full: Full) -> None:
        assert seat in self.given
        self.full.append(full)

    async def seat(self, job: Job) -> Seat | NoSeat:
        self.seated.append(job.id)
        self.asked.set()
        taken = COUNTED if self.counted else NOTHING_TAKEN
        seat = Seat(endpoint="fake", model=job.model, taken=taken)
        instead = self.no_seats.pop(0) if self.no_seats else seat
        if isinstance(instead, StoreUnavailable):
            raise instead
        if isinstance(instead, Seat):
            self.given.append(instead)
        return instead

    def stands(self, seat: Seat) -> bool:
        assert seat in self.given
        fallen, self.fallen = self.fallen, False
        return not fallen

    def leave(self, seat: Seat) -> None:
        self.left.append(seat)

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        assert calls_left >= 1
        self.took.append(seat)
        assert callable(may_call)
        if self.bug is not None:
            raise self.bug
        self.calls.append(job.id)
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.closed.append(job.id)
            raise
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        refused = isinstance(outcome, Failed) and outcome.kind.value == "rate_limited"
        return Attempted(outcome=outcome, work=Work(calls=int(not refused), refusals=int(refused)))


@dataclass(slots=True)
class FakeDelivery:
    """A delivery that notes what is done with it, into a log that the ledger's spy shares."""

    job: Job
    log: list[str] = field(default_factory=list)
    replies: list[tuple[CompletionReply, str]] = field(default_factory=list)
    parked: list[tuple[Job, timedelta]] = field(default_factory=list)
    dead: list[Record] = field(default_factory=list)
    acks: int = 0
    nexts: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def gone(self) -> None:
        await self.lost.wait()

    async def publish_reply(self, reply: CompletionReply, route: str) -> None:
        self.log.append("reply")
        self.replies.append((reply, route))

    async def publish_parked(self, job: Job, after: timedelta) -> None:
        self.log.append("park")
        self.parked.append((job, after))

    async def publish_dead(self, job: Job, record: Record, history: Sequence[HistoryEntry]) -> None:
        assert job.id == record.job_id
        assert history
        self.log.append("dead")
        self.dead.append(record)

    def let_next(self) -> None:
        self.nexts += 1

    async def ack(self) -> None:
        self.log.append("ack")
        self.acks += 1


@dataclass(slots=True)
class FakeGate:
    """A lane's gate that a test opens, closes and rations by hand; `permits` None: as many as are asked for."""

    shut: Closed | None = None
    permits: int | None = None
    wait: timedelta = timedelta(minutes=1)
    asked: int = 0
    given_back: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as what is asked of the gate, or given back, fulfils a condition."""
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()

    @property
    def rationed(self) -> bool:
        return self.permits is not None

    def closed(self) -> Closed | None:
        return self.shut

    async def permit(self) -> Permit | NoPermit:
        self.asked += 1
        self.news.set()
        if self.permits is None:
            return Permit(number=None)
        if self.permits == 0:
            return NoPermit(wait=self.wait)
        self.permits -= 1
        return Permit(number=self.asked)

    async def give_back(self, permit: Permit) -> None:
        self.given_back += 1
        self.news.set()
        if permit.number is not None and self.permits is not None:
            self.permits += 1


@dataclass(slots=True)
class Spy:
    """A ledger that notes what was committed into a delivery's log."""

    real: Ledger
    log: list[str]

    @property
    def begins_at_once(self) -> bool:
        return self.real.begins_at_once

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        return await self.real.find(job, cached=cached)

    async def begin(
        self, job: Job, *, max_attempts: int, terms: Terms | None = None, cached: bool | None = None
    ) -> Beginning:
        await self.before_begin(job, terms, cached=cached)
        begun = await self.real.begin(job, max_attempts=max_attempts, terms=terms, cached=cached)
        self.log.append("begin")
        await self.after_begin(begun)
        return begun

    async def before_begin(self, job: Job, terms: Terms | None, *, cached: bool | None) -> None:
        """Do what a test wants done before a job is begun: let time pass, or fail."""

    async def after_begin(self, begun: Beginning) -> None:
        """Do what a test wants done after that."""

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
        ended = await self.real.end(job, outcome, settlement, work=work, claimed=claimed, bill=bill)
        self.log.append("record")
        return ended

    async def park(  # the port's own
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
        parked = await self.real.park(
            job, settlement, until, work=work, why=why, claimed=claimed, bill=bill
        )
        self.log.append("record")
        return parked

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        await self.real.carried(job, heard, letter=letter)
        self.log.append("carried")

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        await self.real.released(claim_key, at_most=at_most)

    async def wanted_until(self, claim_key: str) -> datetime | None:
        return await self.real.wanted_until(claim_key)

    async def holds(self, job: Job) -> bool:
        return await self.real.holds(job)

    async def result(self, asked: Asked) -> AskAnswer:
        return await self.real.result(asked)

    async def cancel(self, asked: Asked) -> AskAnswer:
        return await self.real.cancel(asked)

    async def called_off(self) -> frozenset[str]:
        return await self.real.called_off()


@dataclass(slots=True, kw_only=True)
class Stand:
    store: EmbeddedStore
    clock: HandClock
    ear: Ear
    upstream: FakeUpstream = field(default_factory=FakeUpstream)
    paused: list[TierPaused] = field(default_factory=list)
    gate: FakeGate = field(default_factory=FakeGate)
    outages: Outage | None = None

    @property
    def outage(self) -> Outage:
        """The process's outage, whose end nobody looks for unless a test does."""
        if self.outages is None:
            self.outages = Outage(
                probe=self.store.renew, clock=self.clock, listener=self.ear, look_s=0.01
            )
        return self.outages

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Let the end of an outage be looked for, every hundredth of a second."""
        looking = asyncio.create_task(self.outage.run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    def line(
        self,
        *,
        ledger: Callable[[Ledger], Ledger] = lambda it: it,
        policy: RetryPolicy | None = None,
        gate: LaneGate | None = None,
        spawn: Spawn | None = None,
    ) -> Line:
        """Give a line; with `spawn`, one that calls on while the store does not answer."""
        real = ledger(self.store.ledger)
        late = (
            None
            if spawn is None
            else LateRecords(
                ledger=PatientLedger(real, self.outage), spawn=spawn, listener=self.ear
            )
        )
        return Line(
            ledger=PatientLedger(real, self.outage, another_way=late is not None),
            upstream=self.upstream,
            clock=self.clock,
            listener=self.ear,
            steps=self.ear,
            policy=policy or RetryPolicy(max_attempts=3),
            tries=2,
            slots={"small.interactive": LaneSlots.of(CONCURRENCY, timedelta(minutes=2))},
            gates={"small.interactive": gate or self.gate},
            pause=self.paused.append,
            chance=lambda: 0.0,
            outage=self.outage,
            late=late,
        )
