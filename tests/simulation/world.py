"""Everything that there is in a schedule: processes, broker, store, upstream and clients, and how it ends."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from tests.simulation.clients import Clients
from tests.simulation.database import Database
from tests.simulation.harm import Harm
from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop
from tests.simulation.process import Process, SimulatedClock
from tests.simulation.queues import Broker
from tests.simulation.tasks import work
from tests.simulation.upstream import MOODS, Mood
from tests.simulation.weather import Weather
from tests.simulation.workers import WorkerProcess

# A schedule that is not over by then, in virtual seconds, never ends.
_LATEST_S: Final = 1000.0 + 900.0
_GRACE: Final = timedelta(seconds=60)


class World:
    """One schedule's world. `asks` and `orders` tell whether there will be any: looking for them takes time."""

    def __init__(
        self,
        seed: object,
        database: Database,
        *,
        workers: int,
        mood: Mood = MOODS[0],
        asks: bool = True,
        orders: bool = True,
        endpoints: Sequence[str] = ("alpha",),
    ) -> None:
        self.chance = Random(str(seed))  # noqa: S311  # chance that can be repeated is the point
        self.loop = SimulatedLoop(self.chance, latest=_LATEST_S)
        self.journal = Journal(self.loop)
        self.database = database
        self.began = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
        self.clock = SimulatedClock(self)
        self.weather = Weather(self.loop, self.chance)
        self.broker = Broker(self.loop, self.journal)
        self.harm = Harm(self)
        self.clients = Clients(self)
        self.mood = mood
        self.asks, self.orders, self.endpoints = asks, orders, tuple(endpoints)
        self.workers: list[WorkerProcess | None] = [None] * workers
        self._owners: dict[str, Process] = {}
        self._rest: asyncio.Future[None] | None = None
        database.clear(self.journal, self.has_lapsed)
        self.clients.bind()

    def later(self, seconds: float, act: Callable[..., object], *args: object) -> None:
        """Let something happen that belongs to no process."""
        self.loop.call_later(seconds, act, *args, context=self.loop.world)

    # Life and death

    def start(self) -> None:
        """Launch all workers."""
        for index in range(len(self.workers)):
            self.launch(index)

    def launch(self, index: int) -> None:
        """Start a worker in a place where none lives."""
        standing = self.workers[index]
        if standing is not None and standing.alive:
            return
        process = WorkerProcess(self, f"w{index}.{len(self._owners) + 1}")
        self.workers[index] = process
        self._owners[process.owner] = process
        process.start(process.serve())

    def kill(self, process: Process) -> None:
        """Kill a process: what it had written to its connections still arrives."""
        if not process.alive:
            return
        self.journal.tell(process.name, "is killed")
        process.alive, process.held = False, None
        self.journal.excuse(process.owner)
        for link in process.links:
            if link.connection is not None:
                link.connection.up.send(link.connection.lose_at_broker)
        if isinstance(process, WorkerProcess):
            index = self.workers.index(process)
            self.later(0.2 + 3 * self.chance.random(), self.launch, index)

    def alive(self) -> list[WorkerProcess]:
        """Give the workers that live."""
        return [worker for worker in self.workers if worker is not None and worker.alive]

    def processes(self) -> list[Process]:
        """Give all processes that live."""
        return [*self.alive(), *(each for each in self.clients.operators if each.alive)]

    def living(self, owner: str) -> bool:
        """Tell whether an owner's kernel lock is held."""
        process = self._owners.get(owner)
        return process is not None and process.alive

    def has_lapsed(self, owner: str) -> bool:
        """Tell whether an owner has died, or has let its lease run out."""
        until = self.database.connection.execute(
            "SELECT lease_until FROM owners WHERE owner = ?", (owner,)
        ).get
        return not self.living(owner) or until is None or until <= self.loop.time()

    # The end

    def heal(self) -> None:
        """Let nothing befall the world any more: everything runs from here on."""
        self.journal.tell("world", "heals")
        self.harm.end()

    async def settled(self) -> None:
        """Return when nothing waits and nothing is held."""
        self._rest = asyncio.get_running_loop().create_future()
        self.loop.idle = self._look
        await self._rest

    async def close(self) -> list[str]:
        """Bring all workers down, and tell what they leave behind."""
        left: list[str] = []
        for worker in self.alive():
            left += worker.unfinished()
            down = worker.start(worker.down(_GRACE))
            await asyncio.wait({down})
            if not down.result():
                left.append(f"{worker.name}: deliveries")
            left += [f"{worker.name}: task {work(task)}" for task in worker.tasks()]
        return left

    def _look(self) -> None:
        """Find out whether all is done; called whenever time would go on."""
        rest, workers = self._rest, self.alive()
        if rest is None or rest.done() or self.broker.busy or self.clients.unsent or not workers:
            return
        if any(
            worker.crew.held or not worker.serving or not worker.outage.answering
            for worker in workers
        ):
            return
        if any(operator.alive and operator.tasks() for operator in self.clients.operators):
            return
        rest.set_result(None)
