"""What befalls a world: deaths, cuts, outages, and operators who change their minds."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from producer_sdk.wire import Lane, request_key
from tests.simulation.process import TIER, Process
from tests.simulation.weather import Outage
from tests.simulation.workers import WorkerProcess
from worker.core.lanes import Orders
from worker.store.embedded import laneorders
from worker.store.instants import to_us

if TYPE_CHECKING:
    from tests.simulation.world import World

# A broker gives up a connection that has been silent for one to two of these.
_HEARTBEAT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Where a worker dies: at a point by name, where this was published, as often as it must pass it."""

    point: str
    copy: str | None
    passes: int


class Harm:
    """All that may be done to a world. Workers are named by their place, whoever stands there."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._crashes: list[Crash] = []
        self.crashed = 0

    def kill(self, index: int) -> None:
        """Kill a worker; another takes its place soon."""
        worker = self._world.workers[index]
        if worker is not None:
            self._world.kill(worker)

    def die_within(self, index: int, steps: int) -> None:
        """Let a worker die between any two of its next so many steps."""
        worker = self._living(index)
        if worker is not None:
            worker.steps_left = int(steps * self._world.chance.random())
            worker.fate = partial(self._world.kill, worker)

    def sleep_within(self, index: int, steps: int, seconds: float) -> None:
        """Suspend a worker between any two of its next so many steps."""
        worker = self._living(index)
        if worker is not None:
            worker.steps_left = int(steps * self._world.chance.random())
            worker.fate = partial(self.suspend, index, seconds)

    def crash(self, point: str, copy: str | None = None, passes: int = 1) -> None:
        """Let whichever worker reaches the point die there."""
        self._crashes.append(Crash(point=point, copy=copy, passes=passes))

    def suspend(self, index: int, seconds: float) -> None:
        """Stop a worker for so long; its timers fire when it wakes up."""
        worker, world = self._living(index), self._world
        if worker is not None and worker.held is None:
            world.journal.tell(worker.name, f"is suspended for {seconds:.1f} s")
            worker.held = []
            world.later(seconds, self._wake, worker)
            world.later(_HEARTBEAT_S * (1 + world.chance.random()), self._miss, worker)

    def cut(self, index: int, which: int, broker_s: float, client_s: float) -> None:
        """Cut one of a worker's connections; each end notices in its own time."""
        worker, world = self._living(index), self._world
        connection = None if worker is None else worker.links[which].connection
        if worker is not None and connection is not None and connection.open:
            world.journal.tell(worker.name, f"connection {which} is cut")
            connection.drop()
            world.later(broker_s, connection.lose_at_broker)
            world.loop.call_later(client_s, connection.lose_at_client, context=worker.context)

    def stall(self, index: int, which: int, seconds: float) -> None:
        """Let the frames of a connection arrive late."""
        worker, world = self._living(index), self._world
        connection = None if worker is None else worker.links[which].connection
        if worker is not None and connection is not None:
            world.journal.tell(worker.name, f"connection {which} stalls for {seconds:.1f} s")
            connection.up.stalled_until = world.loop.time() + seconds * world.chance.random()
            connection.down.stalled_until = world.loop.time() + seconds

    def restart_broker(self, seconds: float) -> None:
        """Stop the broker; it comes back with all that it had confirmed."""
        world = self._world
        if not world.broker.up:
            return
        world.journal.tell("broker", f"is down for {seconds:.1f} s")
        world.broker.up = False
        for process in world.processes():
            self._lose(process, within_s=1.0)
        world.later(seconds, world.broker.start)

    def outage(self, kind: Outage, seconds: float) -> None:
        """Let the store fail."""
        weather = self._world.weather
        self._world.journal.tell("store", f"fails ({kind}) for {seconds:.1f} s")
        weather.outage, weather.outage_until = kind, self._world.loop.time() + seconds

    def late_confirms(self, seconds: float) -> None:
        """Let the broker confirm what it has stored after many seconds."""
        self._world.journal.tell("broker", f"confirms late for {seconds:.1f} s")
        self._world.weather.late_confirms_until = self._world.loop.time() + seconds

    def refuse_replies(self, seconds: float) -> None:
        """Let callback queues be full."""
        self._world.journal.tell("broker", f"refuses replies for {seconds:.1f} s")
        self._world.weather.refusals_until = self._world.loop.time() + seconds

    def jump(self, seconds: float) -> None:
        """Put the wall clock forward, or back."""
        self._world.journal.tell("clock", f"jumps by {seconds:.1f} s")
        self._world.clock.offset += timedelta(seconds=seconds)

    def drain(self, index: int, grace_s: float) -> None:
        """Tell a worker to go down, and start another in its place."""
        worker = self._living(index)
        if worker is not None and worker.serving:
            worker.serving = False
            self._world.journal.tell(worker.name, f"goes down, within {grace_s:.1f} s")
            worker.start(self._drained(worker, index, grace_s))

    def order(self, lane: Lane, orders: Orders) -> None:
        """Let an operator change a lane."""
        world, key = self._world, request_key(TIER, lane)
        world.journal.tell("operator", f"orders {key}: {orders}")
        laneorders._write(world.database.connection, key, orders, to_us(world.clock.now()))

    def crashes_at(self, point: str, copy: str | None = None) -> bool:
        """Tell whether whoever has reached this point dies of it."""
        for number, crash in enumerate(self._crashes):
            if crash.point == point and crash.copy in {None, copy}:
                if crash.passes > 1:
                    self._crashes[number] = replace(crash, passes=crash.passes - 1)
                    return False
                del self._crashes[number]
                self.crashed += 1
                return True
        return False

    def end(self) -> None:
        """Do no more harm, and mend what was done."""
        world = self._world
        self._crashes.clear()
        world.weather.clear_up()
        world.broker.start()
        for index, worker in enumerate(world.workers):
            if worker is not None:
                worker.steps_left = -1
                self._wake(worker)
            world.launch(index)
        if world.orders:
            for lane in Lane:
                self.order(lane, Orders())

    def _living(self, index: int) -> WorkerProcess | None:
        worker = self._world.workers[index]
        return worker if worker is not None and worker.alive else None

    def _wake(self, worker: WorkerProcess) -> None:
        held, worker.held = worker.held, None
        if held is not None and worker.alive:
            self._world.journal.tell(worker.name, "wakes up")
            worker.woke = self._world.loop.steps
            self._world.loop.release(held)

    def _miss(self, worker: WorkerProcess) -> None:
        """Let the broker give up a worker that has shown no life for so long."""
        if worker.held is not None:
            self._lose(worker, within_s=0.0)

    def _lose(self, process: Process, *, within_s: float) -> None:
        world = self._world
        for link in process.links:
            connection = link.connection
            if connection is not None:
                connection.drop()
                connection.lose_at_broker()
                late_s = within_s * world.chance.random()
                world.loop.call_later(late_s, connection.lose_at_client, context=process.context)

    async def _drained(self, worker: WorkerProcess, index: int, grace_s: float) -> None:
        drained = await worker.down(timedelta(seconds=grace_s))
        self._world.journal.tell(worker.name, f"is down, {'all' if drained else 'not all'} settled")
        self._world.journal.excuse(worker.owner)
        worker.alive = False
        self._world.later(0.1, self._world.launch, index)
