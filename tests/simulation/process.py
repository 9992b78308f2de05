"""Simulated processes: a worker, composed as `worker.app` composes it, and an operator's replay."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from producer_sdk.wire import Dedupe, Lane, request_key
from tests.simulation.links import Link
from tests.simulation.tasks import PROCESS, DiedError, SimulatedTask
from worker.broker.codec import TierRules
from worker.broker.publisher import Publisher
from worker.broker.replay import Replay
from worker.broker.trouble import Troubles
from worker.core.events import (
    Event,
    JobEnded,
    JobParked,
    LeaseRenewed,
    Step,
    StepReached,
    Trouble,
)
from worker.core.lanes import LaneRules
from worker.core.letters import Selection
from worker.core.retry import RetryPolicy

if TYPE_CHECKING:
    from tests.simulation.world import World

TIER: Final = "small"
TRIES: Final = 2
POLICY: Final = RetryPolicy(
    max_attempts=3,
    backoffs=(timedelta(seconds=2), timedelta(seconds=4)),
    max_refusals=4,
    refusal_backoffs=(timedelta(seconds=2), timedelta(seconds=4)),
)
RULES: Final = {
    request_key(TIER, Lane.INTERACTIVE): LaneRules(concurrency=3),
    request_key(TIER, Lane.BULK): LaneRules(concurrency=2),
}
ATTEMPT_TIMEOUT: Final = timedelta(seconds=25)


def tier_rules(lane: Lane) -> TierRules:
    """Give what the lane's queue decides about its jobs."""
    return TierRules(
        tier=TIER,
        lane=lane,
        dedupe=Dedupe.OFF,
        default_deadline=timedelta(minutes=2),
        max_deadline=timedelta(minutes=3),
    )


class SimulatedClock:
    """The clocks of the one host: the wall's may be put forward and back, the other goes on."""

    def __init__(self, world: "World") -> None:
        self._loop = world.loop
        self.offset = timedelta()
        self._epoch = world.began

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self._loop.time() - 1000) + self.offset

    def monotonic(self) -> float:
        return self._loop.time()


class Process:
    """One process: a context that its callbacks run in, and an owner's token."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.owner = f"boot.{name}"
        self.alive = True
        self.orderly = world.chance.random() < 0.5
        self.held: list[asyncio.Handle] | None = None
        self.steps_left = -1
        self.fate: Callable[[], object] = partial(world.kill, self)
        # Steps of the loop: when it last woke up, and when it last made sure that it may call for a job.
        self.woke = 0
        self.sure: dict[str, int] = {}
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        self.links: list[Link] = []

    def meet_fate(self) -> None:
        self.steps_left = -1
        self.fate()

    def is_unaware(self, job_id: str) -> bool:
        """Tell whether it has been suspended since it last made sure that it may call for the job.

        It cannot know that, and nor can the line: so much is not promised.
        """
        return self.woke > self.sure.get(job_id, 0)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task of the process."""
        task = self.world.loop.create_task(work, context=self.context.copy())
        task.add_done_callback(self._note)
        return task

    def _note(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if (
            error is not None
            and not isinstance(error, DiedError)
            and not self.world.loop.is_closed()
        ):
            self.world.journal.troubles.append(f"{self.name} failed: {error!r}")

    def tell(self, event: Event) -> None:
        """Be the process's listener: note what is told, and die where the schedule says so."""
        world = self.world
        if world.loop.is_closed():
            return
        match event:
            case StepReached(step=step, job_id=job_id, copy=copy):
                if world.journal.told is not None:
                    world.journal.tell(self.name, f"{job_id[:6]} {step.value} {copy or ''}")
                if step is Step.CALLING:
                    self.sure[job_id] = world.loop.steps
                self.pass_by(step, copy)
            case Trouble(what=what, about=about, error=error):
                world.journal.tell(self.name, f"trouble: {what} ({about}: {error})")
                if "failed inside Warren" in what:
                    world.journal.troubles.append(f"{self.name}: {what}: {error}")
            case JobParked(job=job, parked=parked, kind=kind):
                world.journal.tell(self.name, f"{job.id[:6]} parked: {parked.settlement} {kind}")
            case JobEnded(job=job, record=record):
                world.journal.tell(self.name, f"{job.id[:6]} ended: {record.state.value}")
            case LeaseRenewed():
                self.pass_by("renewed")
            case _:
                pass

    def pass_by(self, point: str, copy: str | None = None) -> None:
        """Pass a point where the schedule may let the process die."""
        if self.alive and self.world.harm.crashes_at(point, copy):
            self.world.journal.tell(self.name, f"dies at {point} {copy or ''}")
            self.world.kill(self)
            raise DiedError

    def tasks(self) -> list[SimulatedTask]:
        """Give the process's tasks that are not done."""
        return [task for task in self.world.loop.tasks if task.host is self and not task.done()]


class ReplayProcess(Process):
    """An operator who replays all dead letters, and may be killed meanwhile."""

    async def replay(self) -> None:
        """Replay what lies there; what a lost connection cuts off is left for the next one."""
        consume, publish = Link(self), Link(self)
        self.links = [consume, publish]
        replay = Replay(
            link=cast("Any", consume),
            publisher=Publisher(cast("Any", publish), Troubles(self)),
            clock=self.world.clock,
            span=timedelta(minutes=2),
        )
        try:
            await replay.run(Selection(), [TIER])
        except Exception as error:  # noqa: BLE001  # cut off: run it again
            self.world.journal.tell(self.name, f"cut off: {error}")
        for link in self.links:
            await link.close()
