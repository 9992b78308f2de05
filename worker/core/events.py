"""What the line tells telemetry: typed events, told synchronously at the very point where they happen."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from worker.core.circuit import State
from worker.core.kinds import Kind
from worker.core.lanes import Cause
from worker.core.model import Job, Parked, Record
from worker.core.seats import Obstacle


class Step(StrEnum):
    """The points of the line between which a crash makes a difference; in the order they are passed."""

    TAKEN = "taken"
    BEGUN = "begun"
    CALLING = "calling"
    ANSWERED = "answered"
    RECORDED = "recorded"
    PUBLISHED = "published"
    CONFIRMED = "confirmed"
    CARRIED = "carried"
    ACKED = "acked"


class Counted(StrEnum):
    """What a limit a minute counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReached:
    """A delivery passed a point. `copy`: what was published there: reply, parked, dead; None elsewhere."""

    step: Step
    job_id: str
    copy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """A run has its terminal record, and it was this process that wrote it."""

    job: Job
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParked:
    """A generation was settled by parking a copy; `kind` says for which failure, None for a follower."""

    job: Job
    parked: Parked
    kind: Kind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """One HTTP call came to its end; `kind` None: it completed.

    `model` is the one that the job asked for, whatever the endpoint calls it. `first_byte_s`: until the head of
    an answer was there; None: none came. `retry`: it repeats a try of the same attempt that failed. `hedge`: it was
    begun beside another call of the attempt, which had not answered yet. `cost` is what it cost in
    US dollars; None: not known. `saved`: how much more it would have cost at the dearest endpoint, where the tier chooses
    by price.
    """

    job_id: str
    tier: str
    endpoint: str
    kind: Kind | None
    seconds: float
    model: str = ""
    first_byte_s: float | None = None
    retry: bool = False
    hedge: bool = False
    cost: Decimal | None = None
    saved: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHeld:
    """An endpoint takes no calls for so many seconds: it asked for that, or its key was refused."""

    endpoint: str
    kind: Kind
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged:
    """An endpoint's circuit took another state; `seconds`: how long an open one lets no call through."""

    endpoint: str
    state: State
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSeen:
    """What is known now of an endpoint's limit a minute; `left` of it may be used yet. None: not known."""

    endpoint: str
    what: Counted
    limit: int | None
    left: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRefused:
    """A job found no seat: `endpoint` None: at none of the tier's. `seconds`: when to ask again."""

    tier: str
    endpoint: str | None
    reason: Obstacle
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDenied:
    """A try of an attempt failed and was not repeated at once, since the retries' budget is used."""

    tier: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message could not be read and was set aside with its raw bytes."""

    tier: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPaused:
    """A tier's consumer has a cause to take nothing; `seconds` None: until told otherwise."""

    tier: str
    lane: str
    reason: str
    seconds: float | None
    cause: Cause = Cause.LANE


@dataclass(frozen=True, slots=True, kw_only=True)
class TierResumed:
    """A cause to take nothing is over. `paused`: another one still holds; else the consumer takes again."""

    tier: str
    lane: str
    cause: Cause = Cause.LANE
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLost:
    """The store does not answer: what needs it waits."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBack:
    """The store answers again, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledUnrecorded:
    """An attempt begins without the ledger, because the store does not answer and the settings allow it."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLate:
    """What was answered without the ledger is in it now; `written` False: it never will be."""

    job: Job
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that an operator should know: what, about what, and what happens next. No content, ever."""

    what: str
    about: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRenewed:
    """The process told the store that it is alive."""


OfTier: TypeAlias = TierPaused | TierResumed
OfPool: TypeAlias = EndpointHeld | CircuitChanged | LimitSeen | SeatRefused | RetryDenied
OfStore: TypeAlias = StoreLost | StoreBack | CalledUnrecorded | RecordedLate

Event: TypeAlias = (
    StepReached
    | JobEnded
    | JobParked
    | CallEnded
    | OfPool
    | Quarantined
    | OfTier
    | OfStore
    | Trouble
    | LeaseRenewed
)
