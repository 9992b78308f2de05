"""Experiment: a thousand copies of one job over several workers, some of which die in the one call."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer_sdk import Request
from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.broken import broken
from tests.faults.mutants.table import SOUND
from tests.faults.rest import at_rest
from tests.faults.stage import Stage, WorkerProcess, chat, open_stage
from tests.faults.tap import tapped

_COPIES: Final = 1000
_KILLS: Final = 3
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What makes the copies the same, how many workers take them, and how many die in the call."""

    name: str
    one_key: bool
    workers: int = 2
    kills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a case: calls beyond one and one for each kill, who did not hear, how many bodies."""

    calls_too_many: int
    unheard: int
    bodies: int
    broken: frozenset[str]


CASES: Final = (
    Case(name="one key, nobody dies", one_key=True),
    Case(name="one request, cached, nobody dies", one_key=False),
    Case(name="one key", one_key=True, kills=_KILLS),
    Case(name="one request, cached", one_key=False, kills=_KILLS),
)


async def run(ground: Ground) -> Measured:
    """Play every case: one call, every submission hears, all of them the same."""
    count = ground.scaled(_COPIES, least=100)
    seen = []
    for number, case in enumerate(CASES):
        ground.tell(f"{case.name}: {count} copies over {case.workers} workers")
        folder = Path(ground.folder) / f"{number}"
        folder.mkdir()
        with ground.vhost() as vhost:
            async with open_stage(vhost, folder) as stage:
                seen.append(await play(stage, case, count))
    return Measured(
        work=f"{count} copies in each of {len(CASES)} cases, {sum(case.kills for case in CASES)} kills",
        bounds=(
            Bound(
                name="calls beyond one and the kills",
                measured=sum(each.calls_too_many for each in seen),
                at_most=0,
            ),
            Bound(
                name="submissions that did not hear",
                measured=sum(each.unheard for each in seen),
                at_most=0,
            ),
            Bound(name="bodies of one job", measured=max(each.bodies for each in seen), at_most=1),
            Bound(
                name="promises broken", measured=sum(len(each.broken) for each in seen), at_most=0
            ),
        ),
        figures={
            case.name: f"{each.calls_too_many} calls too many, {each.unheard} unheard"
            for case, each in zip(CASES, seen, strict=True)
        },
    )


async def play(stage: Stage, case: Case, count: int) -> Seen:
    """Submit the copies, kill who calls as often as the case says, and look what came of it."""
    stage.configure(concurrency=16)
    plan = ",".join(["hang"] * case.kills + ["slow(1)"])
    requests = [_copy(case, plan) for _ in range(count)]
    async with stage.client() as client, tapped(stage.vhost) as tap:
        workers = [await _worker(stage) for _ in range(case.workers)]
        await stage.submit(client, requests)
        for number in range(case.kills):
            await _kill_who_calls(stage, workers, calls=number + 1)
            workers.append(await _worker(stage))
        await at_rest(stage, within_s=300)
        heard = await tap.drain()
    stage.journal.extend(heard)
    findings = stage.audit()
    return Seen(
        calls_too_many=findings.calls - 1 - case.kills,
        unheard=len(findings.unheard),
        bodies=len({line["sha256"] for line in heard}),
        broken=broken(stage, spared=case.kills),
    )


def _copy(case: Case, plan: str) -> Request:
    if case.one_key:
        return chat("copies", plan=plan, idempotency_key="the one key")
    return chat("copies", plan=plan, dedupe="cache")


async def _worker(stage: Stage) -> WorkerProcess:
    return await stage.start_module("tests.faults.mutant_worker", SOUND)


async def _kill_who_calls(stage: Stage, workers: Sequence[WorkerProcess], *, calls: int) -> None:
    """Kill the worker that makes the one call, once that has reached the upstream."""
    await stage.simulator.wait_for(lambda made: len(made) >= calls, timeout_s=120)
    alive = [worker for worker in workers if worker.process.returncode is None]
    async with asyncio.timeout(60):
        while True:
            callers = [worker for worker in alive if "step calling" in worker.log.read_text()]
            if callers:
                break
            await asyncio.sleep(_LOOK_S)
    (caller,) = callers
    await caller.kill()
