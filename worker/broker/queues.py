"""The arguments of Warren's queues, by queue type, and what priorities they have.

A quorum queue lives on several nodes and outlives the loss of a minority of them; a classic one lives on one. See
docs/decisions/0015-quorum.md for each value.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final, TypeAlias

from producer_sdk.wire import NO_DELIVERY_LIMIT, QueueType
from worker.broker import names

Arguments: TypeAlias = Mapping[str, str | int]

# From which RabbitMQ on quorum queues have priorities, and strict ones.
_BUCKETS_SINCE: Final = (4, 0)
_STRICT_SINCE: Final = (4, 3)
_MILLISECOND: Final = timedelta(milliseconds=1)
REPLICAS: Final = 3
# Else the broker's own dead-lettering, by which a parked copy comes back, may lose it.
_AT_LEAST_ONCE: Final[Arguments] = {
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Gives the arguments of each kind of queue, for one queue type."""

    queue_type: QueueType

    @property
    def plain(self) -> Arguments:
        """A queue that keeps what is in it: dead letters, quarantine, asks."""
        if self.queue_type == "classic":
            return {"x-queue-type": "classic"}
        return {
            "x-queue-type": "quorum",
            "x-quorum-initial-group-size": REPLICAS,
            "x-delivery-limit": NO_DELIVERY_LIMIT,
        }

    def jobs(self, tier: str) -> Arguments:
        """A tier's jobs. A quorum queue has the priorities that its broker gives it, and no argument for them."""
        # The net below: workers publish their dead letters themselves.
        net: Arguments = {
            "x-dead-letter-exchange": names.DEAD_EXCHANGE,
            "x-dead-letter-routing-key": tier,
        }
        if self.queue_type == "classic":
            return {**self.plain, "x-max-priority": 10, **net}
        return {**self.plain, **net, **_AT_LEAST_ONCE}

    def parking(self, ttl: timedelta) -> Arguments:
        """A level of parking: what is in it returns after `ttl`."""
        waits: Arguments = {
            "x-message-ttl": ttl // _MILLISECOND,
            "x-dead-letter-exchange": names.RETURN_EXCHANGE,
        }
        more = {} if self.queue_type == "classic" else _AT_LEAST_ONCE
        return {**self.plain, **waits, **more}


class Priorities(Enum):
    """What a job's priority is worth."""

    STRICT = auto()
    HIGH_FIRST = auto()  # two of high to one of the rest, which come in the order of their arrival
    NONE = auto()


def priorities(queue_type: QueueType, version: str) -> Priorities:
    """Tell what priorities the queues have on a RabbitMQ of this version; one that cannot be read passes for new."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if queue_type == "classic" or found is None:
        return Priorities.STRICT
    series = (int(found[1]), int(found[2]))
    if series < _BUCKETS_SINCE:
        return Priorities.NONE
    return Priorities.HIGH_FIRST if series < _STRICT_SINCE else Priorities.STRICT
