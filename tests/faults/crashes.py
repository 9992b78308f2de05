"""The points at which a crash makes a difference, and a worker that dies there again and again.

Each crash is checked by itself: the next worker ends what the dead one left before it is given a job of its own to
die on.
"""

import asyncio
import signal
from dataclasses import dataclass
from typing import Final

from producer_sdk import Job
from producer_sdk.wire import job_id
from tests.faults.broken import Broken, broken
from tests.faults.logged import logged
from tests.faults.mutants.table import SOUND
from tests.faults.stage import Stage, WorkerProcess, chat

_QUICK = '[retry]\nattempt_backoffs = ["100ms"]\ntry_backoff_base = "10ms"\n'
_LEASE_S = 1.0
# A worker's start takes that long on a machine that is busy with others.
_SLOW_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a worker dies, what the upstream does meanwhile, and what may come of it.

    `calls` are those of a job without a crash, `extra` those that the crash may add. `step` None: it is killed
    from outside when its call has reached the upstream. `draining`: it has been told to end before.
    """

    name: str
    step: str | None
    copy: str = "-"
    plan: str = "ok"
    calls: int = 1
    extra: int = 0
    draining: bool = False


# Until a call began, and once its outcome is recorded, a crash costs no call; in between it costs that one.
POINTS: Final = (
    Point(name="1 after delivery", step="taken"),
    Point(name="2 after begin", step="begun"),
    Point(name="3 before the first byte", step="calling"),
    Point(name="4 request sent", step=None, plan="hang,ok", extra=1),
    Point(name="5 response headers", step="headers", extra=1),
    Point(name="6 mid body", step="body", plan="hang_body,ok", extra=1),
    Point(name="7 complete, not recorded", step="answered", extra=1),
    Point(name="8 recorded, not published", step="recorded"),
    Point(name="8 for a parked copy", step="recorded", plan="503,503", calls=3),
    Point(name="8 for a dead letter", step="recorded", plan="400!"),
    Point(name="9 published, not confirmed", step="published", copy="reply"),
    Point(name="9 for a parked copy", step="published", copy="parked", plan="503,503", calls=3),
    Point(name="9 for a dead letter", step="published", copy="dead", plan="400!"),
    Point(name="10 confirmed, not marked", step="confirmed", copy="reply"),
    Point(name="11 marked, not acked", step="carried"),
    Point(name="12 as 10, a parked copy", step="confirmed", copy="parked", plan="503,503", calls=3),
    Point(name="13 as 10, a dead letter", step="confirmed", copy="dead", plan="400!"),
    Point(name="14 lease renewal", step="renewed", plan="slow(2),ok", extra=1),
    Point(name="15 drain, in the call", step=None, plan="hang,ok", extra=1, draining=True),
    Point(name="15 drain, recorded", step="recorded", plan="slow(0.3)", draining=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """What came of so many crashes at a point: calls beyond those that each may add, and broken promises."""

    crashes: int
    calls_added: int
    calls_too_many: int
    broken: Broken


async def crash(stage: Stage, point: Point, times: int) -> Crashed:
    """Let workers die at a point, one after the other, each on a job of its own."""
    stage.configure(more=_QUICK)
    keys = [f"{point.name} {number}" for number in range(times)]
    ids = [job_id("producer", key) for key in keys]
    async with stage.client() as client:
        left = list[Job]()
        for key, job in zip(keys, ids, strict=True):
            worker = await _dying(stage, point, job)
            await stage.hear(left, _SLOW_S)
            request = chat(key, plan=point.plan, idempotency_key=key)
            left = await stage.submit(client, (request,))
            if point.step is None or point.draining:
                await _harm(stage, point, worker, job)
            assert await worker.ended(_SLOW_S) == -signal.SIGKILL
        await stage.start()
        await stage.hear(left, _SLOW_S)
        await stage.settled(_SLOW_S)
    made = [str(call.id).partition(".")[0] for call in stage.simulator.calls]
    added = [made.count(job) - point.calls for job in ids]
    return Crashed(
        crashes=times,
        calls_added=sum(added),
        calls_too_many=sum(max(each - point.extra, 0) for each in added),
        broken=await asyncio.to_thread(broken, stage, spared=max(sum(added), 0)),
    )


async def _dying(stage: Stage, point: Point, job: str) -> WorkerProcess:
    arguments = ["tests.faults.mutant_worker", SOUND, "--job", job]
    if point.step is not None:
        arguments += ["--kill", point.step, point.copy, "1"]
    if point.step == "renewed":
        arguments += ["--lease", str(_LEASE_S)]
    return await stage.start_module(*arguments)


async def _harm(stage: Stage, point: Point, worker: WorkerProcess, job: str) -> None:
    """Do from outside what the worker does not do to itself, once its call has reached the upstream."""
    await stage.simulator.wait_for(
        lambda calls: any(str(call.id).startswith(job) for call in calls), timeout_s=_SLOW_S
    )
    if point.draining:
        worker.process.send_signal(signal.SIGTERM)
    if point.step is None:
        if point.draining:
            await logged(worker, "draining")
        await worker.kill()
