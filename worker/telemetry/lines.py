"""What of an event goes into its log line: ids, names and numbers; never content, keys or secrets.

The idempotency key is the user's own text, so the job's id, which is made from it, stands for it.
"""

from datetime import timedelta
from typing import Any, Final, TypeAlias

from worker.core.events import (
    CircuitChanged,
    EndpointHeld,
    JobEnded,
    JobParked,
    Quarantined,
    StoreLost,
    TierPaused,
    TierResumed,
    Trouble,
)
from worker.core.model import Completed, Failed, Job, Retry

Line: TypeAlias = dict[str, Any]

_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST: Final = 500


def ended(event: JobEnded) -> Line:
    """Give the canonical line of a run that has ended: where it stands, what it cost, how long it took.

    `cost` is that of the run's own call, in US dollars as text: "0" if it needed none, None if not known.
    """
    job, record, tally = event.job, event.record, event.record.tally
    line: Line = {
        "job": job.id,
        "tenant": job.tenant,
        "tier": job.tier,
        "lane": str(job.lane),
        "state": str(record.state),
        "run": record.run,
        "attempts": tally.attempts,
        "calls": tally.calls,
        "refusals": tally.refusals,
        "waited_ms": record.waited // _MILLISECOND,
        "upstream_ms": record.upstream // _MILLISECOND,
        "total_ms": record.total // _MILLISECOND,
    }
    match record.outcome:
        case Completed(endpoint=endpoint, source=source, usage=usage, own_cost=cost):
            line["endpoint"], line["source"] = endpoint, str(source)
            line["cost"] = None if cost is None else format(cost, "f")
            if usage is not None:
                line["prompt_tokens"] = usage.prompt_tokens
                line["completion_tokens"] = usage.completion_tokens
        case Failed(kind=kind, status=status, endpoint=endpoint):
            line["kind"], line["status"], line["endpoint"] = kind.value, status, endpoint
        case None:
            pass
    return line


def parked(event: JobParked) -> Line:
    """Give the line of a generation that waits as a parked copy."""
    settlement = event.parked.settlement
    return {
        **of(event.job),
        "settlement": "retry" if isinstance(settlement, Retry) else "snooze",
        "kind": event.kind and event.kind.value,
        "run": event.job.run,
        "generation": event.job.generation,
        "after_ms": settlement.after // _MILLISECOND,
    }


def held(event: EndpointHeld) -> Line:
    """Give the line of an endpoint that takes no calls for a while."""
    return {
        "endpoint": event.endpoint,
        "kind": event.kind.value,
        "seconds": round(event.seconds, 3),
    }


def circuit(event: CircuitChanged) -> Line:
    """Give the line of an endpoint whose circuit opened, closed, or lets a probe through."""
    return {
        "endpoint": event.endpoint,
        "state": event.state.value,
        "seconds": None if event.seconds is None else round(event.seconds, 3),
    }


def quarantined(event: Quarantined) -> Line:
    """Give the line of a message that was set aside."""
    return {"tier": event.tier, "reason": event.reason[:_LONGEST]}


def paused(event: TierPaused) -> Line:
    """Give the line of a consumer that stopped taking."""
    return {
        "tier": event.tier,
        "lane": event.lane,
        "reason": event.reason[:_LONGEST],
        "seconds": event.seconds,
        "cause": event.cause.value,
    }


def resumed(event: TierResumed) -> Line:
    """Give the line of a cause to take nothing that is over."""
    return {
        "tier": event.tier,
        "lane": event.lane,
        "cause": event.cause.value,
        "still_paused": event.paused,
    }


def store_lost(event: StoreLost) -> Line:
    """Give the line of a store that does not answer."""
    return {
        "what": "the store does not answer; what needs it waits",
        "error": event.error[:_LONGEST],
    }


def trouble(event: Trouble) -> Line:
    """Give the line of something that an operator should know."""
    return {
        "what": event.what[:_LONGEST],
        "about": event.about[:_LONGEST],
        "error": event.error[:_LONGEST],
    }


def of(job: Job) -> Line:
    """Give what names a job."""
    return {"job": job.id, "tenant": job.tenant, "tier": job.tier, "lane": job.lane.value}
