"""The narrow interfaces between the line and the world; behind each stand at least two adapters or a fake.

A port's promises are its docstrings, and one contract suite per port holds every adapter to them.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

from producer_sdk.wire import CompletionReply, Verb
from worker.core.bill import NO_BILL, Bill
from worker.core.events import Event
from worker.core.lanes import Closed, Orders
from worker.core.letters import Counts, Explanation, Letter, Selection
from worker.core.limits import Charge, Full, Taken
from worker.core.model import (
    AskAnswer,
    Asked,
    Attempted,
    Beginning,
    Completed,
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
    Usage,
    Work,
)
from worker.core.rations import NoPermit, Permit
from worker.core.seats import NoSeat, Seat, Unready
from worker.core.spend import Cap, Counted, OverBudget, Reserved
from worker.core.terms import Terms

MayCall: TypeAlias = Callable[[], Awaitable[bool]]


class Clock(Protocol):
    """The only reader of time."""

    def now(self) -> datetime:
        """Give the wall clock's instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Give seconds of a clock that never goes back; the same for all processes of one boot."""
        ...


class Ledger(Protocol):
    """What is known of every job: identity, claim, counted attempts, outcome, settlement.

    Each method is one transaction and returns after its commit. Errors: `StoreUnavailable`, and then
    nothing was changed, or it was and a repeat of the same call finds it so.
    """

    async def find(self, job: Job, *, cached: bool = False) -> Found | None:
        """Tell what was decided for this delivery already; None: nothing, it may go on. Writes nothing of the job.

        * the key's job has another `content_hash`: `Conflict`;
        * the run is terminal: `Ended`, with this delivery's submission in `hear` unless it has heard;
        * a parked settlement of this generation: `Parked`; an older generation or run: `Stale`;
        * a `replay` delivery (run r + 1) of a job that is terminal but not completed at run r: None;
        * a job that was cancelled and has no record yet: `CalledOff`;
        * nothing, and `cached`: the response that the cache keeps under the job's fingerprint, as `ResponseCache.get`
          gives it. A cache that cannot be read has none.
        """
        ...

    @property
    def begins_at_once(self) -> bool:
        """Tell whether `begin` finds and counts terms itself. Else it is to be asked without `cached` and without terms."""
        ...

    async def begin(
        self,
        job: Job,
        *,
        max_attempts: int,
        terms: Terms | None = None,
        cached: bool | None = None,
    ) -> Beginning:
        """Claim the job's call and count the attempt, or say why not.

        In one transaction: first, unless `cached` is None, whatever `find` with it tells. Then the `terms` of its call, as `Limits.take` and `Spend.reserve` count them and in this order;
        where one has no room, `Full` or `OverBudget` is all that is said. Next: everything that `find` tells. Then: a
        new submission of an open job gets its route noted (`Joined`); a replay reopens the job by compare-and-set of the run, all its submissions
        to hear again; a living claim of the key: `Follow`; an outcome of the same fingerprint that ended
        since this job was first received (for `dedupe=cache`: that is still kept): `Answered`; a copy that
        came back before a time that the ledger knows: `Early`; no attempts left: `Exhausted`; cancelled
        meanwhile: `CalledOff`; else `Started`, the claim fenced by this process, the attempt counted. Only
        `Started` counts, and with it all of the terms: its `taken` and the reservation are to be settled, as those of
        `Limits` and `Spend`. After an error, or where the caller was cancelled, the reservation may be counted all the same:
        settle it. A claim of a dead process, or one whose lease has run out, is taken over.
        """
        ...

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
        """Record outcome and settlement of the run together, release the claim, and say who has to hear.

        `claimed`: the outcome comes from a call under our claim; when a living process has taken the job over,
        nothing is written and what stands comes back (`Stale` when nothing stands yet). The first terminal record of a
        run wins; a later one gets the first one back. An outcome under our claim ends the run also when a
        follower has parked a later generation meanwhile. Without `claimed`, a job whose call runs is not ended
        over its head: `Follow`. A completed or permanent outcome is kept for
        followers.

        `bill` is what the attempt leaves to be settled: as by `Limits.settle`, `Spend.settle` and `ResponseCache.put`,
        whatever record stands in the end. It is in the same transaction where the store can do that, else in the same
        round trip. Who repeats the call repeats no more of it than `Bill.again`.
        """
        ...

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
        """Record that this generation waits as a parked copy, and release the claim.

        The first settlement of a generation wins; a later one gets the first one back, and its work is counted
        all the same. A `Snooze` under a claim gives the counted attempt back. A job that was cancelled meanwhile
        ends so instead. `bill` is as in `end`, without a response.
        """
        ...

    async def carried(self, job: Job, heard: Sequence[Submission], *, letter: bool) -> None:
        """Note that a settlement was carried out: the broker has confirmed what it publishes.

        That is these submissions' replies, the dead letter if `letter`, or (neither) the parked copy of
        this delivery's generation.
        """
        ...

    async def released(self, claim_key: str, *, at_most: timedelta) -> None:
        """Return as soon as nobody alive holds the claim, at the latest after `at_most`."""
        ...

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of all who followed the claim; None: nobody did."""
        ...

    async def holds(self, job: Job) -> bool:
        """Tell whether this process still may call for the job.

        It holds the claim, nobody takes that over for as long as a lease lasts, and it is not to close the call.
        """
        ...

    async def result(self, asked: Asked) -> AskAnswer:
        """Tell how a job ended, with the asker in `hear` alone: `Settled`, `NotEnded` or `UnknownJob`.

        Another tenant's job is an `UnknownJob`. Writes nothing.
        """
        ...

    async def cancel(self, asked: Asked) -> AskAnswer:
        """Cancel a job, or say why not.

        * it has ended: `Settled`, as `result`;
        * it waits: it ends now, and `hear` are all its submissions and the asker: `Settled`;
        * its call runs: `NotEnded`, the asker noted; `called_off` names it to the process that calls, unless
          other jobs follow the call: then it goes on;
        * no worker knows it, and it is the asker's: it ends when it comes: `CalledOff`. Else `UnknownJob`.
        """
        ...

    async def called_off(self) -> frozenset[str]:
        """Give the ids of jobs whose call this process makes, and should close: they were cancelled."""
        ...


class LaneOrders(Protocol):
    """What operators want of the lanes, by `<tier>.<lane>`; shared by all workers, and kept across restarts."""

    async def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand. Errors: `StoreUnavailable`."""
        ...


class Rationing(Protocol):
    """Counts the calls that a lane starts, over all workers and restarts. Errors: `StoreUnavailable`."""

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        """Give the right to start one call now, and count it; or say how long to wait.

        In no 60 seconds, as the upstream sees them, more than `per_minute` calls start.
        """
        ...

    async def give_back(self, lane: str, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        ...


class Limits(Protocol):
    """Counts requests and tokens against the limits of the accounts that are called, over all workers and restarts.

    Errors: `StoreUnavailable`, and then nothing may start.
    """

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        """Count all charges and give the right to start one call now; or count none of them, and say how long to wait.

        In no 60 seconds, as the upstream sees them, more than a meter's limit is started. A charge beyond the whole
        limit is taken when nothing else is counted. What is taken and never settled counts until it is past. No
        meter may stand twice among the charges.
        """
        ...

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Count what was really used in place of the charges, in their order; once for each `Taken`.

        0 gives a charge back. More than was charged counts too, from now on.
        """
        ...


class Spend(Protocol):
    """Counts money against budgets, over all workers and restarts. Errors: `StoreUnavailable`.

    Sums are exact: whatever is added, no digit is lost.
    """

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        """Count the amount, of US dollars, against all of the caps, or against none and say which leave no room.

        In one transaction, in the pots of now. `reservation` is its name, which nobody else uses: asked for twice it
        counts once. What is reserved and never settled, because the process died, stays counted until the pot's
        period ends: its call may have been made, and be charged. Zero is never refused.
        """
        ...

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        """Count what was really spent instead of what was reserved, in the same pots; zero gives all back.

        More than was reserved is counted too. None, which is not known: what was reserved counts as spent. Settled
        twice counts once; where the period is long over, it counts nothing.
        """
        ...


class LaneGate(Protocol):
    """One lane of one tier, as the line sees it: whether a call may start now."""

    @property
    def rationed(self) -> bool:
        """Tell whether calls need a permit that somebody counts."""
        ...

    def closed(self) -> Closed | None:
        """Tell why no call may start, and until when; None: it is open."""
        ...

    async def permit(self) -> Permit | NoPermit:
        """Give the right to start one call now; a lane without a ration always does."""
        ...

    async def give_back(self, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        ...


class ResponseCache(Protocol):
    """Completed responses by fingerprint, for `dedupe=cache`; a miss is always allowed.

    The line reads and fills it by the ledger: by `find` and by the bill of an `end`.
    """

    async def get(self, fingerprint: str) -> Completed | None:
        """Give the response kept under the fingerprint, with `source` CACHE, or None."""
        ...

    async def put(self, fingerprint: str, completed: Completed) -> None:
        """Keep the response for the cache's lifetime; too large or no room: keep nothing.

        A `get` of the same process that follows finds it; the others do soon.
        """
        ...


OUT_OF_TIME: Final = "the attempt's time is up"
"""The message of a cancellation, by which an attempt is told that it took too long and not that nobody wants it."""


class Upstream(Protocol):
    """The LLM side as the line sees it."""

    def flaw(self, job: Job) -> Failed | None:
        """Tell why no endpoint will ever take the job, such as a model that none of them serves; None: one may."""
        ...

    def unready(self, job: Job) -> Unready | None:
        """Tell that no endpoint takes calls for the job now, as far as this process knows. Quick; asks nobody."""
        ...

    def propose(self, job: Job) -> Seat | NoSeat | None:
        """Choose an endpoint for a job that is to begin, and leave the permits of its limits `due`, or tell how long to wait.

        None: they are scarce, and nobody can tell without asking: as `seat` does. Who begins the job notes on the seat what was
        `taken`, and else leaves it as any. Quick; asks nobody.
        """
        ...

    def refused(self, seat: Seat, full: Full) -> None:
        """Take note that the limits have no room for what is due for a seat, which is given up. Quick; asks nobody."""
        ...

    async def seat(self, job: Job) -> Seat | NoSeat:
        """Choose an endpoint and take the permits of its limits for one call, or tell how long to wait.

        Whoever is given a seat has to `leave` it, whatever happens. Cancelled, or with an error, it has given none.
        Errors: `StoreUnavailable`, where limits are shared through the store.
        """
        ...

    def stands(self, seat: Seat) -> bool:
        """Tell whether a seat's endpoint still takes its call: no hold has begun since, and no circuit opened. Quick; asks nobody."""
        ...

    def leave(self, seat: Seat) -> None:
        """Give back what is left of a seat: all of it where no attempt was made. Returns at once, asks nobody."""
        ...

    async def attempt(
        self, job: Job, *, calls_left: int, may_call: MayCall, seat: Seat | None = None
    ) -> Attempted:
        """Make one attempt: at most `calls_left` quick tries, over one or more endpoints.

        The first try takes `seat`, which this upstream has given; None: it looks for one itself, as every further
        try does. `may_call` is asked before every try but the first: a process that was suspended may have lost the job
        to another. When it says no, what is known so far is the outcome.

        Never raises for what an upstream does. Cancelling it closes the call at once; the deadline is the
        caller's business, by cancelling. Cancelled with the message `OUT_OF_TIME`, the upstream is to blame: the attempt
        had all of its time.
        """
        ...


class Pricing(Protocol):
    """What calls cost."""

    def __call__(
        self, *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
    ) -> Decimal | None:
        """Give the cost of a call made at the instant `at`, in US dollars; None: not known, never zero.

        `asked` and `answered` are the model's name in request and answer. Quick, and asks nobody.
        """
        ...


class Delivery(Protocol):
    """One handing-over of a message, as the line sees it; the broker adapter owns it."""

    @property
    def job(self) -> Job:
        """What the message says, trusted fields checked."""
        ...

    async def gone(self) -> None:
        """Return when this delivery can no longer be settled (channel lost)."""
        ...

    def publish_reply(self, reply: CompletionReply, route: str) -> Coroutine[Any, Any, object]:
        """Publish one reply and return when the broker has confirmed it.

        Also when it cannot be had: the queue is gone, or refuses it again and again. A tenant's queue must not
        hold the delivery.
        """
        ...

    async def publish_parked(self, job: Job, after: timedelta) -> None:
        """Publish the parked copy and return when the broker has confirmed it."""
        ...

    async def publish_dead(self, job: Job, record: Record, history: Sequence[HistoryEntry]) -> None:
        """Publish the dead letter and return when the broker has confirmed it."""
        ...

    def let_next(self) -> None:
        """Let the next message be taken, where they are taken one by one: this one needs no permit now.

        A delivery that is settled does so of itself.
        """
        ...

    async def ack(self) -> None:
        """Settle the delivery on the channel that it came on; a lost channel: do nothing, it comes again."""
        ...


class AskDelivery(Protocol):
    """One handing-over of an ask."""

    @property
    def verb(self) -> Verb:
        """What is wanted."""
        ...

    @property
    def asked(self) -> Asked:
        """By whom, and of which job."""
        ...

    async def publish_reply(self, reply: CompletionReply, route: str) -> None:
        """Publish one reply; as `Delivery.publish_reply`."""
        ...

    async def ack(self) -> None:
        """Settle the ask; as `Delivery.ack`."""
        ...


TakeAsk: TypeAlias = Callable[[AskDelivery], None]


class Archive(Protocol):
    """What operators read of the ledger; it changes nothing and blocks no worker."""

    def letters(self, selection: Selection) -> Sequence[Letter]:
        """Give the dead letters that are selected, oldest first."""
        ...

    def explain(self, job_id: str) -> Explanation | None:
        """Give all that is known of a job; `job_id` may be shortened to its first 6 or more digits.

        Raises:
            AmbiguousJob: more than one job begins with these digits.
        """
        ...

    def jobs(self) -> Iterator[Explanation]:
        """Give all that is known of every job, in the order in which they were first seen."""
        ...

    def counts(self) -> Counts:
        """Give how many jobs are open and how many dead letters wait."""
        ...


class LaneBook(Protocol):
    """The operators' side of `LaneOrders`: reads and writes, also while no worker runs. Errors: `StoreUnavailable`."""

    def orders(self) -> Mapping[str, Orders]:
        """Give all orders that stand."""
        ...

    def change(self, lane: str, change: Callable[[Orders], Orders], *, now: datetime) -> None:
        """Let other orders stand for the lane, made of those that stand: nobody's change is lost between the two."""
        ...

    def started(self, lane: str, *, since: datetime) -> int:
        """Tell how many calls the lane has started since then, within its last minute; 0 without a ration."""
        ...


class SpendBook(Protocol):
    """The operators' side of `Spend`: it reads only, also while no worker runs. Errors: `StoreUnavailable`."""

    def standing(self) -> Sequence[Counted]:
        """Give what stands in every pot that is kept, sorted by the pots' names."""
        ...


class Store(Protocol):
    """A worker process's side of the store, open while entered: what its ports keep, in one place."""

    @property
    def ledger(self) -> Ledger:
        """What is known of every job."""
        ...

    @property
    def cache(self) -> ResponseCache:
        """Completed responses."""
        ...

    @property
    def lane_orders(self) -> LaneOrders:
        """What operators want of the lanes."""
        ...

    @property
    def rationing(self) -> Rationing:
        """The calls that the lanes start."""
        ...

    @property
    def limits(self) -> Limits:
        """What is used of the accounts' limits."""
        ...

    @property
    def spend(self) -> Spend:
        """The money that is spent."""
        ...

    async def renew(self) -> bool:
        """Renew the process's life sign, which is a cheap write; tell whether that worked. Raises nothing."""
        ...

    async def __aenter__(self) -> Self:
        """Open it, and begin to show life. Errors: `StoreUnavailable`, `SettingsError`."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, and give up the life sign."""
        ...


class Listener(Protocol):
    """Telemetry's side: it is told what happened, at once and in order, and must neither block nor raise."""

    def tell(self, event: Event) -> None:
        """Take note of an event."""
        ...
