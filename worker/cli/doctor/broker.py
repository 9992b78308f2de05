"""What the broker's version, limits and topology mean."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from producer_sdk.wire import QueueType
from worker.broker.comparison import Difference
from worker.broker.management import Replicas
from worker.broker.queues import REPLICAS, Priorities, priorities
from worker.cli.doctor.finding import Finding, failed, ok, warn

_OLDEST: Final = (3, 10)
# The first release of each living series with its known holes closed; see docs/doctor.md.
_PATCHED: Final[Mapping[tuple[int, int], int]] = {(4, 2): 10, (4, 3): 5}
_UPGRADE: Final = "run RabbitMQ 4.3.5 or newer, or the latest 4.2 from 4.2.10 on"
# Beside one per tier and lane: two or three for publishing, and one or two for control.
_SPARE_CHANNELS: Final = 16


def version(text: str) -> Finding:
    """Judge the broker's version."""
    what, found = "broker version", re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        return warn(what, f"RabbitMQ says {text!r}, which is no version", _UPGRADE)
    series, patch = (int(found[1]), int(found[2])), int(found[3] or 0)
    if series < _OLDEST:
        return failed(what, f"RabbitMQ {text} is older than 3.10, the oldest that works", _UPGRADE)
    if series < min(_PATCHED):
        return warn(
            what,
            f"RabbitMQ {text} is of a series that gets no fixes any more: for development only",
            _UPGRADE,
        )
    if patch < _PATCHED.get(series, 0):
        needed = f"{series[0]}.{series[1]}.{_PATCHED[series]}"
        return warn(what, f"RabbitMQ {text} lacks fixes that {needed} has", _UPGRADE)
    return ok(what, f"RabbitMQ {text}")


def delivery_timeout(
    attempts: Mapping[str, timedelta], set_by: Mapping[str, timedelta], configured: timedelta
) -> Iterator[Finding]:
    """Judge how long the broker lets a tier's delivery be held against its longest attempt.

    `set_by` are the limits of the tiers' queues that the broker shows, for tiers that have one; for the others
    what the configuration says of the broker counts, since no API shows the broker's own default.
    """
    for tier, attempt in attempts.items():
        what = f"consumer timeout of {tier}"
        limit = set_by.get(tier, configured)
        where = (
            "by the queue's policy or argument" if tier in set_by else "by broker.consumer_timeout"
        )
        detail = f"the broker takes a delivery back after {_span(limit)} ({where}), an attempt lasts up to {_span(attempt)}"
        if attempt >= limit:
            yield failed(
                what,
                detail,
                f"shorten tiers.{tier}.attempt_timeout, or lengthen the broker's consumer-timeout of the queue",
            )
        else:
            yield ok(what, detail)


def channels(lanes: int, offered: int) -> Finding:
    """Judge how many channels a connection may have; 0: any number."""
    what, needed = "channels", lanes + _SPARE_CHANNELS
    detail = f"a connection may have {offered or 'any number of'} channels, the worker opens up to {needed}"
    if offered and offered < needed:
        return failed(what, detail, f"set channel_max = {max(needed, 256)} in rabbitmq.conf")
    return ok(what, detail)


def queues(refused: Mapping[str, str]) -> Finding:
    """Judge whether the worker's user may use the tiers' queues; `refused` has the broker's word for each."""
    what = "queues"
    if not refused:
        return ok(what, "every tier's queue is there for the worker's user")
    told = "; ".join(f"{name}: {why}" for name, why in refused.items())
    return failed(what, told, "warren topology apply")


def queue_type(configured: QueueType, version: str) -> Finding:
    """Judge what priorities the queues of this type have on a RabbitMQ of this version."""
    what, other = "queue type", 'set broker.queue_type = "classic"'
    match priorities(configured, version):
        case Priorities.NONE:
            detail = f"quorum: RabbitMQ {version} gives quorum queues no priorities"
            return failed(what, detail, f"{_UPGRADE}, or {other}")
        case Priorities.HIGH_FIRST:
            detail = (
                f"quorum: on RabbitMQ {version} only priority high stands out, two to one; low and normal are "
                "taken as they come"
            )
            return warn(
                what, detail, f"run RabbitMQ 4.3.5 or newer for strict priorities, or {other}"
            )
        case Priorities.STRICT if configured == "quorum":
            return ok(what, "quorum, with strict priorities")
        case Priorities.STRICT:
            return ok(what, "classic, with strict priorities; each queue lives on one node")


def replicas(nodes: int, found: Mapping[str, Replicas]) -> Iterator[Finding]:
    """Judge on how many nodes the quorum queues live; `nodes` 0: how many there are is not known."""
    what = "replicas"
    wanted = min(REPLICAS, nodes or REPLICAS)
    thin = sorted(name for name, each in found.items() if each.members < wanted)
    down = sorted(name for name, each in found.items() if each.online < each.members)
    if nodes and nodes < REPLICAS and found:
        mend = "join three nodes to a cluster; then, on the new ones, rabbitmq-queues grow NODE all"
        yield warn(
            what, f"the cluster has {nodes} of the {REPLICAS} nodes that survive a loss", mend
        )
    if thin:
        mend = "on each node that lacks them: rabbitmq-queues grow NODE all"
        yield warn(what, f"on fewer than {wanted} nodes: {', '.join(thin)}", mend)
    if down:
        yield warn(
            what, f"not on all their nodes now: {', '.join(down)}", "start the node that is down"
        )
    if found and not (thin or down) and nodes >= REPLICAS:
        yield ok(what, f"every queue lives on {wanted} nodes")


def topology(differences: Sequence[Difference]) -> Iterator[Finding]:
    """Judge each difference from what Warren needs the broker to hold."""
    for difference in differences:
        what = f"topology: {difference.kind} {difference.name}"
        if "not checked" in difference.problem:
            yield warn(what, difference.problem, difference.advice)
        else:
            yield failed(what, difference.problem, difference.advice)
    if not differences:
        yield ok(
            "topology",
            "exchanges, queues, bindings, policies and permissions are as they should be",
        )


def _span(value: timedelta) -> str:
    return f"{value.total_seconds():g} s"
