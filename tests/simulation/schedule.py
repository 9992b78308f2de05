"""One schedule from its seed to the auditor's verdict, and the smallest part of it that still breaks the promise."""

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from tests.simulation.auditor import Broken, Violation, audit, crashes
from tests.simulation.database import Database
from tests.simulation.plan import CHAOS_S, Plan, draw
from tests.simulation.tasks import DeadlockError, RunawayError
from tests.simulation.world import World

_HEAL_S: Final = CHAOS_S + 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a schedule; `trace` and `digest` only where they were asked for.

    `crashed` counts the deaths at named points, `repeated` the calls whose process did not live to record them.
    """

    plan: Plan
    violations: tuple[Violation, ...]
    steps: int
    calls: int
    crashed: int
    repeated: int
    seconds: float
    trace: tuple[str, ...] = ()
    digest: str = ""

    @property
    def kinds(self) -> frozenset[Broken]:
        return frozenset(violation.kind for violation in self.violations)


@cache
def database() -> Database:
    """Give this process's database; schedules use it one after the other."""
    return Database()


def run(plan: Plan, *, traced: bool = False) -> Verdict:
    """Play a plan and audit it."""
    world = World(
        plan.seed,
        database(),
        workers=plan.workers,
        mood=plan.mood,
        asks=plan.asks,
        orders=plan.orders,
        endpoints=plan.endpoints,
    )
    if traced:
        world.journal.told, world.loop.trace = [], []
    violations: list[Violation]
    try:
        violations = world.loop.run(_play(world, plan))
    except (DeadlockError, RunawayError) as error:
        violations = [Violation(Broken.STUCK, f"{error}: {_waiting(world)}"), *crashes(world)]
    steps = "\n".join(world.loop.trace or ())
    return Verdict(
        plan=plan,
        violations=tuple(violations),
        steps=world.loop.steps,
        calls=len(world.journal.calls),
        crashed=world.harm.crashed,
        repeated=sum(call.excused for call in world.journal.calls),
        seconds=world.loop.time() - 1000,
        trace=tuple(world.journal.told or ()),
        digest=hashlib.sha256(steps.encode()).hexdigest() if traced else "",
    )


def seeded(seed: int, *, without: Collection[int] = (), traced: bool = False) -> Verdict:
    """Play a seed's plan, without some of its actions."""
    return run(leave_out(draw(seed), without), traced=traced)


def leave_out(plan: Plan, without: Collection[int]) -> Plan:
    """Give the plan without the actions of these numbers."""
    kept = tuple(each for number, each in enumerate(plan.actions) if number not in without)
    return replace(plan, actions=kept)


def shrink(verdict: Verdict) -> frozenset[int]:
    """Give the numbers of actions that a violation does not need: without them there is still one of its kind."""
    seed, without = verdict.plan.seed, frozenset[int]()
    for number in reversed(range(len(verdict.plan.actions))):
        fewer = without | {number}
        if seeded(seed, without=fewer).kinds & verdict.kinds:
            without = fewer
    return without


async def _play(world: World, plan: Plan) -> list[Violation]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    world.start()
    for action in plan.actions:
        wait = began + action.at - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        action.play(world)
    if any(action.what != "clients.submit" for action in plan.actions):
        await asyncio.sleep(max(0.0, began + _HEAL_S - loop.time()))
    world.heal()
    await world.settled()
    left = await world.close()
    return audit(world, left)


def _waiting(world: World) -> str:
    queues = [
        f"{queue.name}: {len(queue.ready)} ready, {queue.unsettled} out"
        for queue in world.broker.queues.values()
        if queue.ready or queue.unsettled
    ]
    held = [f"{worker.name} holds {worker.crew.held}" for worker in world.alive()]
    return "; ".join((*queues, *held))
