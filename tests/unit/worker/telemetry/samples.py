"""Events as the line tells them, a clock that a test moves, and a log that can be read back."""

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from producer_sdk.wire import Dedupe, Lane, Source
from worker.core.circuit import State as CircuitState
from worker.core.events import (
    CalledUnrecorded,
    CallEnded,
    CircuitChanged,
    Counted,
    EndpointHeld,
    Event,
    JobEnded,
    JobParked,
    LeaseRenewed,
    LimitSeen,
    Quarantined,
    RecordedLate,
    RetryDenied,
    SeatRefused,
    Step,
    StepReached,
    StoreBack,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.core.kinds import Kind
from worker.core.model import (
    Completed,
    Failed,
    Job,
    Outcome,
    Parked,
    Record,
    Retry,
    Snooze,
    State,
    Submission,
    Tally,
    Usage,
)
from worker.core.seats import Obstacle
from worker.telemetry.sink import Format, Level, Sink, open_sink

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
CANARY = "sesame-4711"


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000.0)

    def monotonic(self) -> float:
        return self.seconds


class Paper:
    """A stream for log lines."""

    def __init__(self, clock: HandClock, *, level: Level = "info", style: Format = "json") -> None:
        self.stream = io.BytesIO()
        self.sink: Sink = open_sink(clock, level=level, style=style, stream=self.stream)

    @property
    def text(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def job(*, tier: str = "premium", lane: Lane = Lane.BULK, model: str = f"model {CANARY}") -> Job:
    return Job(
        id="5" * 32,
        tenant="acme",
        key=f"key {CANARY}",
        tier=tier,
        lane=lane,
        path="/v1/chat/completions",
        model=model,
        body=CANARY.encode(),
        content_hash=CANARY,
        dedupe=Dedupe.OFF,
        priority=4,
        submission=Submission(id=CANARY, reply_to=CANARY),
        submitted_at=NOW,
        received_at=NOW,
        deadline=NOW + timedelta(days=1),
    )


def completed(
    endpoint: str = "main",
    *,
    source: Source = Source.UPSTREAM,
    cost: Decimal | None = Decimal("0.00025"),
) -> Completed:
    return Completed(
        body=CANARY.encode(),
        endpoint=endpoint,
        model=CANARY,
        usage=Usage(prompt_tokens=11, completion_tokens=22, cached_tokens=7),
        source=source,
        cost=cost,
    )


def failed(kind: Kind = Kind.INVALID_REQUEST) -> Failed:
    return Failed(kind=kind, status=400, code=CANARY, endpoint="main", detail=CANARY)


def ended(
    outcome: Outcome | None = None, state: State = State.COMPLETED, *, of: Job | None = None
) -> JobEnded:
    record = Record(
        job_id="5" * 32,
        run=1,
        state=state,
        outcome=outcome,
        tally=Tally(attempts=2, calls=3, refusals=1),
        waited=timedelta(milliseconds=1500),
        upstream=timedelta(milliseconds=2500),
        total=timedelta(seconds=4),
    )
    return JobEnded(job=of or job(), record=record)


def parked(*, retry: bool = True) -> JobParked:
    wait = timedelta(seconds=10)
    settlement = Retry(after=wait) if retry else Snooze(after=wait)
    return JobParked(
        job=job(),
        parked=Parked(settlement=settlement, until=NOW + wait, carried=False),
        kind=Kind.OVERLOADED if retry else None,
    )


def call(
    tier: str = "premium",
    endpoint: str = "main",
    kind: Kind | None = None,
    seconds: float = 0.2,
    **more: Any,  # noqa: ANN401  # the event's other fields, as they are
) -> CallEnded:
    return CallEnded(
        job_id="5" * 32, tier=tier, endpoint=endpoint, kind=kind, seconds=seconds, **more
    )


def trouble(about: str = "store") -> Trouble:
    return Trouble(what="the store is slow", about=about, error="StoreUnavailable")


def every_event() -> list[Event]:
    """Give one event of each type, and more where a type has cases."""
    return [
        *(StepReached(step=step, job_id="5" * 32) for step in Step),
        ended(completed()),
        ended(failed(), State.DEAD_LETTERED),
        ended(None),
        parked(),
        parked(retry=False),
        call(),
        call(model=CANARY, first_byte_s=0.1, retry=True, hedge=True),
        EndpointHeld(endpoint="main", kind=Kind.RATE_LIMITED, seconds=5.0),
        *(CircuitChanged(endpoint="main", state=state, seconds=2.0) for state in CircuitState),
        LimitSeen(endpoint="main", what=Counted.TOKENS, limit=60_000, left=1_500),
        SeatRefused(tier="premium", endpoint="main", reason=Obstacle.TOKENS, seconds=3.0),
        RetryDenied(tier="premium", endpoint="main"),
        Quarantined(tier="premium", reason="the version is unknown"),
        TierPaused(tier="premium", lane="bulk", reason="the store is down", seconds=None),
        TierResumed(tier="premium", lane="bulk"),
        StoreLost(error="the store is locked"),
        StoreBack(seconds=1.5),
        CalledUnrecorded(job=job()),
        RecordedLate(job=job(), written=True),
        trouble(),
        LeaseRenewed(),
    ]
