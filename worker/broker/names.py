"""Exchanges, queues and headers, by name; what producers need of them stands in the wire contract."""

from typing import Final

from producer_sdk import tolerance
from producer_sdk.wire import Lane

RETURN_EXCHANGE: Final = "warren.return"
REPLAY_EXCHANGE: Final = "warren.replay"
PARK_EXCHANGE: Final = "warren.park"
DEAD_EXCHANGE: Final = "warren.dead"
CONTROL_EXCHANGE: Final = "warren.control"

QUARANTINE_QUEUE: Final = "warren.quarantine"
QUARANTINE_KEY: Final = "quarantine"
ASKS_QUEUE: Final = "warren.asks"

# What the worker adds to a request's headers on parked copies and dead letters ...
TENANT: Final = "x-warren-tenant"
RUN: Final = "x-warren-run"
GENERATION: Final = "x-warren-generation"
NOT_BEFORE: Final = "x-warren-not-before"
RECEIVED: Final = "x-warren-received"
# ... on dead letters alone ...
JOB: Final = "x-warren-job"
TIER: Final = "x-warren-tier"
LANE: Final = "x-warren-lane"
KIND: Final = "x-warren-kind"
STATUS: Final = "x-warren-status"
CODE: Final = "x-warren-code"
ATTEMPTS: Final = "x-warren-attempts"
COST: Final = "x-warren-cost"
HISTORY: Final = "x-warren-history"
DIED: Final = "x-warren-died"
# ... on quarantined messages ...
REASON: Final = "x-warren-reason"
ORIGINAL: Final = "x-warren-original"
WIRE: Final = tolerance.WIRE
WIRE_SIZE: Final = "x-warren-wire-size"


def jobs_queue(tier: str, lane: Lane) -> str:
    """Give the queue that holds a tier's jobs."""
    return f"warren.jobs.{tier}.{lane.value}"


def dead_queue(tier: str) -> str:
    """Give the queue that holds a tier's dead letters."""
    return f"warren.dead.{tier}"


def parking_queue(level: str) -> str:
    """Give the queue in which jobs wait at a level of parking."""
    return f"warren.park.{level}"
