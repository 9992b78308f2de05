"""Nodes of a three-node cluster killed, stopped or cut off, under load."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias

from producer_sdk.wire import QueueType
from stack.broker import Broker
from stack.cluster import Cluster
from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import Trial, bounds, figures, open_trial
from tests.faults.cluster import ClusterVhost, open_cluster_vhost
from tests.faults.vhost import Vhost

_WORKERS, _CONCURRENCY = 2, 16
_JOBS, _KILLS = 12_000, 30
_PARTED_JOBS, _PARTINGS = 3_000, 4
# How long a node may be silent before the others take it for dead; RabbitMQ's own value is 60.
_NET_TICK_S = 15
_PARTED_S = 2 * _NET_TICK_S
_QUEUE = "warren.jobs.standard.interactive"

Harm: TypeAlias = Callable[[Cluster, int], None]


class ClusterGround:
    """A ground whose virtual hosts are the cluster's one.

    Its URLs name every node, so clients go to these, and a trial's proxies stay unused.
    """

    def __init__(self, ground: Ground, vhost: ClusterVhost) -> None:
        self._ground = ground
        self._vhost = vhost

    @property
    def folder(self) -> Path:
        return self._ground.folder

    @property
    def seed(self) -> int:
        return self._ground.seed

    @property
    def chance(self) -> random.Random:
        return self._ground.chance

    def scaled(self, full: int, *, least: int = 1) -> int:
        return self._ground.scaled(full, least=least)

    def tell(self, text: str) -> None:
        self._ground.tell(text)

    def broker(self, release: str | None = None) -> Broker:
        del release
        return self._vhost.broker

    @contextmanager
    def vhost(
        self, release: str | None = None, *, queue_type: QueueType = "quorum"
    ) -> Iterator[Vhost]:
        del release, queue_type
        yield self._vhost


async def run(ground: Ground) -> Measured:
    """SIGKILL one node after the other, half of them the leader of the queue, and start each again."""
    kills, led, chance = ground.scaled(_KILLS, least=3), 0, ground.chance
    async with _on_cluster(ground) as (trial, vhost):
        began = time.monotonic()
        async with trial.traffic(jobs=ground.scaled(_JOBS, least=300)):
            await trial.in_flight(_CONCURRENCY)
            for number in range(kills):
                await asyncio.sleep(chance.uniform(0.2, 2.0))
                victim, leads = await _victim(vhost, chance)
                led += leads
                await asyncio.to_thread(vhost.cluster.kill, victim)
                await asyncio.sleep(chance.uniform(0.0, 3.0))
                await _back(vhost, victim)
                ground.tell(f"{number + 1} of {kills} node kills, {trial.load.heard:,} replies")
        return await _measured(trial, vhost, f"{kills} SIGKILLs, {led} of the leader", began)


async def run_stops(ground: Ground) -> Measured:
    """SIGSTOP one node after the other for twice as long as the others wait for a sign of it."""
    return await _parted(ground, Cluster.suspend, Cluster.resume, "stopped")


async def run_partitions(ground: Ground) -> Measured:
    """Part one node after the other from the rest; clients reach both sides."""
    return await _parted(ground, Cluster.cut_off, Cluster.rejoin, "cut off from the others")


async def _parted(ground: Ground, part: Harm, mend: Harm, how: str) -> Measured:
    times, led, chance = ground.scaled(_PARTINGS), 0, ground.chance
    async with _on_cluster(ground) as (trial, vhost):
        began = time.monotonic()
        async with trial.traffic(jobs=ground.scaled(_PARTED_JOBS, least=300)):
            await trial.in_flight(_CONCURRENCY)
            for number in range(times):
                await asyncio.sleep(chance.uniform(0.2, 2.0))
                victim, leads = await _victim(vhost, chance)
                led += leads
                await asyncio.to_thread(part, vhost.cluster, victim)
                await asyncio.sleep(_PARTED_S)
                await asyncio.to_thread(mend, vhost.cluster, victim)
                await asyncio.to_thread(vhost.cluster.await_members)
                ground.tell(f"{number + 1} of {times} nodes {how}, {trial.load.heard:,} replies")
        what = f"{times} nodes {how} for {_PARTED_S} s, {led} of them the leader"
        return await _measured(trial, vhost, what, began)


@asynccontextmanager
async def _on_cluster(ground: Ground) -> AsyncIterator[tuple[Trial, ClusterVhost]]:
    ground.tell("three nodes start")
    async with (
        open_cluster_vhost(ground.folder, net_tick_s=_NET_TICK_S) as vhost,
        open_trial(
            ClusterGround(ground, vhost),
            workers=_WORKERS,
            concurrency=_CONCURRENCY,
            latency="lognormal(0.5,0.6)",
        ) as trial,
    ):
        yield trial, vhost


async def _victim(vhost: ClusterVhost, chance: random.Random) -> tuple[int, bool]:
    """Draw a node, every second time the one that leads the queue; tell whether it does."""
    leader = await asyncio.to_thread(vhost.leader, _QUEUE)
    if leader is not None and chance.random() < 0.5:
        return leader, True
    victim = chance.randrange(len(vhost.cluster.nodes))
    return victim, victim == leader


async def _back(vhost: ClusterVhost, victim: int) -> None:
    """Start a node again, and wait until it is one of three: else the next would be the second that is down."""
    await asyncio.to_thread(vhost.cluster.start, victim)
    await asyncio.to_thread(vhost.cluster.await_members)


async def _measured(trial: Trial, vhost: ClusterVhost, what: str, began: float) -> Measured:
    lasted = time.monotonic() - began
    findings = await trial.settled()
    return Measured(
        work=f"{what}, in a cluster of three nodes of RabbitMQ {vhost.cluster.server.version} with quorum queues; "
        f"{findings.jobs:,} jobs of two tenants on {_WORKERS} workers with {_CONCURRENCY} calls each",
        bounds=(
            *bounds(findings, trial),
            Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0),
        ),
        figures=figures(findings)
        | {"publishes that failed": trial.load.failed, "seconds under fire": round(lasted, 1)},
    )
