"""Lifetimes, bounds and durability of the embedded store."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Durability(StrEnum):
    """What a commit survives."""

    PROCESS = "process"  # the death of any process; the last commits may be lost with the power
    POWER = "power"  # the loss of power as well: one fsync per group of operations


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedOptions:
    """How long things are kept, how large they may grow, and how a process shows that it lives.

    `record_ttl` counts from a run's end, or from the deadline of a job that never ended: it must be longer
    than the longest retry horizon and replay window together, or a late copy starts its job anew.
    `answer_ttl` is how long a follower can be away and still find its leader's outcome.
    `lease` must be several times `renew_every`; a process that is stopped for longer loses its claims.
    """

    durability: Durability = Durability.PROCESS
    busy_timeout: timedelta = timedelta(seconds=5)
    result_ttl: timedelta = timedelta(hours=24)
    record_ttl: timedelta = timedelta(days=10)
    answer_ttl: timedelta = timedelta(hours=1)
    cache_ttl: timedelta = timedelta(hours=24)
    cache_bytes: int = 256 * 1024 * 1024
    cache_entry_bytes: int = 1024 * 1024
    lease: timedelta = timedelta(seconds=15)
    renew_every: timedelta = timedelta(seconds=5)
    sweep_every: timedelta = timedelta(seconds=60)
