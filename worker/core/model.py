"""The values that the line speaks in: a job, what its attempts yielded, what becomes of its deliveries."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from producer_sdk.wire import Dedupe, Lane, Source, Status
from worker.core.ceiling import Ceiling
from worker.core.kinds import Kind
from worker.core.limits import NOTHING_TAKEN, Full, Taken, Used
from worker.core.money import plus
from worker.core.spend import OverBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One accepted request for a job: its id and the route of its replies (None: none wanted)."""

    id: str
    reply_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The unit of work, as one delivery shows it.

    `id` is made from tenant and idempotency key, so every submission of a job has the same. `run` counts
    replays from 1, `generation` the parked copies inside a run from 0. `first` says that the delivery came
    from a producer: then run and generation are 1 and 0 by definition, whatever the message claims.
    `body` goes upstream byte for byte; `content_hash` is over path and canonical body.
    `not_before` is set on a parked copy: it may come back before its time and then is parked again.
    `flaw` says why the request cannot be sent at all, where reading it showed that. `ceiling` is what its call may be
    charged for at most, where its body was read for the job.
    """

    id: str
    tenant: str
    key: str
    tier: str
    lane: Lane
    path: str
    model: str
    body: bytes
    content_hash: str
    dedupe: Dedupe
    priority: int
    submission: Submission
    submitted_at: datetime
    received_at: datetime
    deadline: datetime
    run: int = 1
    generation: int = 0
    first: bool = True
    not_before: datetime | None = None
    flaw: str | None = None
    ceiling: Ceiling | None = field(default=None, compare=False, repr=False)

    @property
    def claim_key(self) -> str:
        """What is claimed while a call runs: the fingerprint if the answer may be shared, else the job."""
        return self.id if self.dedupe is Dedupe.OFF else self.fingerprint

    @property
    def fingerprint(self) -> str:
        """Two requests of one tenant and tier with the same content have the same fingerprint.

        The tier belongs to it: another tier has other endpoints, with answers and failures of their own.
        """
        return f"{self.tenant}:{self.tier}:{self.content_hash}"

    @property
    def queue_key(self) -> str:
        """The routing key `<tier>.<lane>` of the queue that the job belongs to."""
        return f"{self.tier}.{self.lane}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that the upstream counted.

    `cached_tokens` and `cache_write_tokens` are those of the prompt that its prompt cache gave or took.
    `hidden_tokens` stand in its total alone: some APIs leave reasoning out of `completion_tokens`. `service_tier` is
    what the answer says that it was served as, at a rate of its own; it is for pricing alone, and no store keeps it.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    hidden_tokens: int = 0
    service_tier: str | None = field(default=None, compare=False)

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The upstream answered. `body` is its response, byte for byte.

    `model` is what it says that it came from, by the endpoint's own name. `cost` is what the call that gave it cost,
    in US dollars; None: not known. `fallback`: another model than the one asked for has answered, so that the
    answer is this job's and its followers', and none for the cache.
    """

    body: bytes = field(repr=False)
    endpoint: str
    model: str | None = None
    usage: Usage | None = None
    source: Source = Source.UPSTREAM
    cost: Decimal | None = None
    fallback: bool = False

    def charged(self, cost: Decimal | None, *, fallback: bool) -> "Completed":
        """Give it with what its call cost, and whether another model has answered. Made anew by hand: `replace` takes ten times as long."""
        if cost is self.cost and fallback is self.fallback:
            return self
        return Completed(
            body=self.body,
            endpoint=self.endpoint,
            model=self.model,
            usage=self.usage,
            source=self.source,
            cost=cost,
            fallback=fallback,
        )

    @property
    def own_cost(self) -> Decimal | None:
        """What the job's own call cost: zero for an answer that needed none."""
        return self.cost if self.source is Source.UPSTREAM else Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt, or the job before any attempt, came to nothing.

    `code` is the upstream's own short error code, `status` its HTTP status. `retry_after` is what it asked
    for, from now. `detail` is Warren's own words; no text of the upstream is kept: it may quote the prompt.
    `unsent`: the upstream cannot have got any of it; that is for the attempt, and not recorded.
    `cost` is what the call is known to have cost all the same, in US dollars; None: not known. `usage` and `model` are
    what the answer told before it was judged, for that cost alone: no store keeps them. Two failures are equal when
    they say the same of what happened, whatever it cost.
    """

    kind: Kind
    status: int | None = None
    code: str | None = None
    endpoint: str | None = None
    retry_after: timedelta | None = None
    detail: str | None = None
    unsent: bool = field(default=False, compare=False)
    cost: Decimal | None = field(default=None, compare=False)
    usage: Usage | None = field(default=None, compare=False)
    model: str | None = field(default=None, compare=False)


Outcome: TypeAlias = Completed | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Settle: the job ends and every submission hears `status`."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Settle: park a copy for `after`; the attempt counts."""

    after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """Settle: park a copy for `after`; no attempt counts."""

    after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Settle: the job ends in its tier's dead-letter queue, and every submission hears why."""

    reason: Kind


Settlement: TypeAlias = Reply | Retry | Snooze | DeadLetter
Terminal: TypeAlias = Reply | DeadLetter
Park: TypeAlias = Retry | Snooze


class State(StrEnum):
    """Where a job's current run stands; everything but `OPEN` is terminal."""

    OPEN = "open"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    DEAD_LETTERED = "dead_lettered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an attempt cost: `calls` that the policy counts, `refusals` (429) beside them, time upstream, money.

    `spent` is the sum of all known costs in US dollars; `unpriced` is how many calls may have been charged for and
    have no known cost. The same work is equal whatever was charged for it.
    """

    calls: int = 0
    refusals: int = 0
    upstream: timedelta = timedelta()
    spent: Decimal = field(default=Decimal(0), compare=False)
    unpriced: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One attempt's yield. `used` is what it leaves to be settled of limits: whoever records the attempt sees to it."""

    outcome: Outcome
    work: Work
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a run has spent so far: counted attempts, calls and refused calls over all its attempts, and money.

    `spent` and `unpriced` are as in `Work`.
    """

    attempts: int = 0
    calls: int = 0
    refusals: int = 0
    snoozes: int = 0
    spent: Decimal = Decimal(0)
    unpriced: int = 0

    def plus(self, work: Work) -> "Tally":
        """Give the tally with an attempt's work added."""
        return Tally(
            attempts=self.attempts,
            snoozes=self.snoozes,
            calls=self.calls + work.calls,
            refusals=self.refusals + work.refusals,
            spent=plus(self.spent, work.spent),
            unpriced=self.unpriced + work.unpriced,
        )

    @property
    def cost(self) -> Decimal | None:
        """What all calls of the run cost together, in US dollars; None: of some it is not known."""
        return None if self.unpriced else self.spent


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of a job's history, as `warren explain` and a dead letter show it. Never any content.

    `calls` are all HTTP calls of the attempt, refused ones too.
    """

    at: datetime
    run: int
    generation: int
    attempt: int
    what: str
    kind: str | None = None
    status: int | None = None
    endpoint: str | None = None
    calls: int = 0
    upstream_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run's terminal record: what came out and what it cost.

    `outcome` is None when the record outlived the response's body: the reply is then a `result_expired`
    error, and still no call.
    """

    job_id: str
    run: int
    state: State
    outcome: Outcome | None
    tally: Tally
    waited: timedelta
    upstream: timedelta
    total: timedelta


# What the ledger may say of a delivery that needs no call any more.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run has its terminal record.

    `hear` are the submissions that have not heard yet, this delivery's own included; `letter_due` says that
    the dead letter is not known to be published. Neither: just ack. `written`: this very call wrote the
    record.
    """

    record: Record
    hear: tuple[Submission, ...]
    letter_due: bool = False
    written: bool = field(default=False, compare=False)
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """This generation was settled by parking a copy. `carried`: the copy is known to be published."""

    settlement: Park
    until: datetime
    carried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Another message carries this job; this submission's reply route stands in the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """A later generation or run of this job is on its way already: just ack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The idempotency key belongs to a job with another body: this submission alone is refused."""


Decided: TypeAlias = Ended | Parked | Joined | Stale | Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledOff:
    """The job is to end as cancelled, and has no record yet."""


Found: TypeAlias = Decided | CalledOff | Completed

# What `begin` may say besides.


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The claim is ours and the attempt is counted: `attempt` is this one, from 1. `taken` is what its terms charge.

    `at` is when that was so, in seconds of the clock that never goes back; None: not told.
    """

    attempt: int
    tally: Tally
    taken: Taken = NOTHING_TAKEN
    at: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Somebody alive is calling upstream for this claim key."""

    leader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A job with the same fingerprint ended while this one waited: its outcome may be shared."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Early:
    """The copy came back before the time that the ledger knows: another delivery's call was told to wait."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """All attempts are counted and none left an outcome: every worker that took the job died with it."""

    tally: Tally


NotStarted: TypeAlias = Follow | Answered | Early | Exhausted | Found
Beginning: TypeAlias = Started | NotStarted | Full | OverBudget

# Asks, and what the ledger may say to one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody's ask about a job. `tenant` None: an operator, for whom no job is another's.

    `by_key`: the job's id was made from this tenant and the key that the ask names, so the job is the tenant's
    also while no worker knows it. `submission` is the ask's own id and route.
    """

    job_id: str
    tenant: str | None
    submission: Submission
    by_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The job has ended, or ends by this ask: `ended` says who has to hear. `job` has no body."""

    job: Job
    ended: Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnded:
    """The job goes on. `noted`: the asker hears when it ends, as a submission does."""

    noted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownJob:
    """The ledger knows no such job of this tenant."""


AskAnswer: TypeAlias = Settled | NotEnded | UnknownJob | CalledOff


def next_generation(job: Job, *, not_before: datetime) -> Job:
    """Give the job as its parked copy carries it."""
    return replace(job, generation=job.generation + 1, first=False, not_before=not_before)
