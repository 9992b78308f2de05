"""Experiment: many jobs and many cut connections through one worker and one client, which must not grow."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.holdings import worker_holdings
from tests.faults.logged import logged
from tests.faults.mutants.table import SOUND
from tests.faults.rest import at_rest
from tests.faults.stage import Stage, WorkerProcess, open_stage
from tests.faults.vhost import ROOT

_ROUNDS: Final = 40
_JOBS: Final = 400
_LEASE_S: Final = 2.0
# What the process had taken from the system it keeps for a while, so memory is judged by halves after a warm-up.
_WARM_UP: Final = 0.25
_MOST_GROWTH_KIB: Final = 4096
# The store's page cache, 16 MB at the most, takes 27 rounds to fill. Small, it is full within the warm-up, and what grows
# after it is growth.
_PAGE_CACHE_KIB: Final = 1000

Held = Mapping[str, int]


async def run(ground: Ground) -> Measured:
    """Run round after round, cut all connections in each, and compare what is held early and late."""
    rounds = ground.scaled(_ROUNDS, least=8)
    with ground.vhost() as vhost:
        async with open_stage(vhost, Path(ground.folder)) as stage:
            stage.configure(concurrency=32)
            stage.simulator.latency({"default": "fixed(0.1)"})
            worker = await stage.start_module(
                "tests.faults.mutant_worker",
                SOUND,
                *("--lease", str(_LEASE_S), "--page-cache", str(_PAGE_CACHE_KIB)),
            )
            await worker.ready()
            client = await _client(stage)
            try:
                seen = [
                    await _one_round(stage, worker, client, ground, number)
                    for number in range(rounds)
                ]
            finally:
                client.kill()
                await client.wait()
    workers, clients = [each[0] for each in seen], [each[1] for each in seen]
    unheard = sum(each["submitted"] - each["heard"] for each in clients)
    return Measured(
        work=f"{sum(each['submitted'] for each in clients)} jobs in {rounds} rounds, all connections cut in each",
        bounds=(
            Bound(name="jobs that did not hear", measured=unheard, at_most=0),
            *_bounds("worker", workers, ("fds", "threads", "tasks", "series")),
            *_bounds("client", clients, ("fds", "threads", "tasks")),
        ),
        figures={
            f"{who} {name}": f"{held[0][name]} first, {held[-1][name]} last"
            for who, held in (("worker", workers), ("client", clients))
            for name in held[0]
        },
    )


async def _client(stage: Stage) -> asyncio.subprocess.Process:
    with (stage.folder / "client.log").open("wb") as log:  # the library tells of every cut
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.soaking_client",
            stage.vhost.url("producer"),
            str(_JOBS),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )


async def _one_round(
    stage: Stage,
    worker: WorkerProcess,
    client: asyncio.subprocess.Process,
    ground: Ground,
    number: int,
) -> tuple[Held, Held]:
    """Let a round go through, cut everybody's connections in the middle of it, and look when it rests."""
    assert client.stdin is not None
    assert client.stdout is not None
    before = len(stage.simulator.calls)
    client.stdin.write(b"go\n")
    await client.stdin.drain()
    await stage.simulator.wait_for(lambda calls: len(calls) > before + _JOBS // 4, timeout_s=120)
    for user in ("worker", "producer"):
        await asyncio.to_thread(stage.vhost.close_connections, user)
    told = json.loads(await client.stdout.readline())
    await at_rest(stage, within_s=60)
    await worker.ready()
    seen = worker.log.read_text(encoding="utf-8").count("\ntasks ")
    await logged(worker, "\ntasks ", times=seen + 2)
    held = await asyncio.to_thread(worker_holdings, worker)
    ground.tell(f"round {number + 1}: worker {held['rss_kib']} KiB, client {told['rss_kib']} KiB")
    return held, told


def _bounds(who: str, held: Sequence[Held], exact: Sequence[str]) -> tuple[Bound, ...]:
    """Compare the first and the second half of what was seen after the warm-up."""
    warm = held[int(len(held) * _WARM_UP) :]
    early, late = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    return (
        Bound(
            name=f"{who}: growth of memory, KiB",
            measured=max(0, round(_middle(late, "rss_kib") - _middle(early, "rss_kib"))),
            at_most=_MOST_GROWTH_KIB,
        ),
        *(
            Bound(
                name=f"{who}: growth of {name}",
                measured=max(0, round(_middle(late, name) - _middle(early, name))),
                at_most=0,
            )
            for name in exact
        ),
    )


def _middle(held: Sequence[Held], name: str) -> float:
    return median(each[name] for each in held)
