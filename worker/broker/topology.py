"""What the broker must hold, as a value.

Arguments hold what can never change on a living queue (type, priorities, TTL, dead-lettering), policies the
limits, which an operator may change at any time. Everything loads on RabbitMQ 3.10, 4.0 and 4.3; on 3.10 quorum
queues have no priorities, so do not use them there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from producer_sdk.wire import ASK_KEY, REPLIES_EXCHANGE, REQUESTS_EXCHANGE, Lane, QueueType
from worker.broker import names
from worker.broker.queues import Arguments, Shapes
from worker.broker.rights import (
    Permission,
    TopicPermission,
    User,
    permissions,
    topic_permissions,
    users,
)
from worker.core.parking import LEVELS

_MIB: Final = 1024 * 1024
_EXCHANGES: Final = MappingProxyType(
    {
        REQUESTS_EXCHANGE: "direct",
        names.RETURN_EXCHANGE: "topic",
        names.REPLAY_EXCHANGE: "direct",
        names.PARK_EXCHANGE: "topic",
        names.DEAD_EXCHANGE: "direct",
        REPLIES_EXCHANGE: "topic",
        names.CONTROL_EXCHANGE: "topic",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What brings messages from an exchange into a queue."""

    source: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Limits of the queues whose names match the pattern."""

    name: str
    pattern: str
    limits: Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """All that Warren needs a virtual host to hold."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    policies: tuple[Policy, ...]
    users: tuple[User, ...]
    permissions: tuple[Permission, ...]
    topic_permissions: tuple[TopicPermission, ...]


def topology(
    tiers: Sequence[str],
    *,
    lanes: Sequence[Lane] = tuple(Lane),
    tenants: Sequence[str] = ("producer",),
    queue_type: QueueType = "classic",
) -> Topology:
    """Give the topology for these tiers, lanes and tenants; each tenant is a user of its name."""
    shapes = Shapes(queue_type=queue_type)
    queues, bindings = _quarantine(shapes)
    for more_queues, more_bindings in (
        *(_tier(tier, lanes, shapes) for tier in tiers),
        _asks(shapes),
        _parking(shapes),
    ):
        queues += more_queues
        bindings += more_bindings
    return Topology(
        exchanges=tuple(Exchange(name=name, kind=kind) for name, kind in _EXCHANGES.items()),
        queues=tuple(queues),
        bindings=tuple(bindings),
        policies=_policies(),
        users=users(tenants),
        permissions=permissions(tenants),
        topic_permissions=topic_permissions(tenants),
    )


def _quarantine(shapes: Shapes) -> tuple[list[Queue], list[Binding]]:
    queue = Queue(name=names.QUARANTINE_QUEUE, arguments=shapes.plain)
    key = names.QUARANTINE_KEY
    return [queue], [Binding(source=names.DEAD_EXCHANGE, queue=queue.name, key=key)]


def _tier(tier: str, lanes: Sequence[Lane], shapes: Shapes) -> tuple[list[Queue], list[Binding]]:
    dead = Queue(name=names.dead_queue(tier), arguments=shapes.plain)
    queues = [dead]
    bindings = [Binding(source=names.DEAD_EXCHANGE, queue=dead.name, key=tier)]
    for lane in lanes:
        jobs = names.jobs_queue(tier, lane)
        key = f"{tier}.{lane.value}"
        queues.append(Queue(name=jobs, arguments=shapes.jobs(tier)))
        bindings += [
            Binding(source=REQUESTS_EXCHANGE, queue=jobs, key=key),
            Binding(source=names.REPLAY_EXCHANGE, queue=jobs, key=key),
            # A parked copy returns with the key that it was parked with: level, tier and lane.
            Binding(source=names.RETURN_EXCHANGE, queue=jobs, key=f"*.{key}"),
        ]
    return queues, bindings


def _asks(shapes: Shapes) -> tuple[list[Queue], list[Binding]]:
    # From tenants by the exchange that they may write already, from operators by one of their own: so the
    # broker says who asks.
    queue = Queue(name=names.ASKS_QUEUE, arguments=shapes.plain)
    return [queue], [
        Binding(source=source, queue=queue.name, key=ASK_KEY)
        for source in (REQUESTS_EXCHANGE, names.CONTROL_EXCHANGE)
    ]


def _parking(shapes: Shapes) -> tuple[list[Queue], list[Binding]]:
    queues = [
        Queue(name=names.parking_queue(level.name), arguments=shapes.parking(level.ttl))
        for level in LEVELS
    ]
    bindings = [
        Binding(
            source=names.PARK_EXCHANGE,
            queue=names.parking_queue(level.name),
            key=f"{level.name}.#",
        )
        for level in LEVELS
    ]
    return queues, bindings


def _policies() -> tuple[Policy, ...]:
    # None for the jobs queues: a parked copy that comes back to a full queue is dropped without a word, since
    # the broker does not confirm its own dead-lettering. What bounds a backlog is the disk alarm.
    return (
        # A flood of unreadable messages must not fill the disk, and refusing them would hold up the jobs
        # behind them: the oldest go.
        Policy(
            name="warren-quarantine",
            pattern=r"^warren\.quarantine$",
            limits={
                "max-length": 10_000,
                "max-length-bytes": 256 * _MIB,
                "overflow": "drop-head",
            },
        ),
    )
