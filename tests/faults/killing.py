"""Worker processes that are kept at a number while they are killed at random moments."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from stack.records import Journal
from tests.faults.stage import Stage, WorkerProcess

# Many start at once here, on a machine that has other work too.
_READY_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a worker ended that was told to, or killed."""

    worker: WorkerProcess
    status: int
    seconds: float
    in_flight: int


class Herd:
    """Keeps `size` worker processes running: each that is ended here is replaced at once.

    Deaths by SIGKILL go into the journal, so that the auditor knows which calls they cut off. A worker that ended
    by itself is in `unasked`.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        size: int,
        chance: random.Random,
        journal: Journal,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._stage = stage
        self._size = size
        # One goes on with the work while another is ended.
        self._spared = min(1, size - 1)
        self._chance = chance
        self._journal = journal
        self._environment = environment or {}
        self._ready: list[WorkerProcess] = []
        self._coming: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.unasked: list[WorkerProcess] = []

    async def start(self) -> None:
        """Start all, and wait until they are ready."""
        await asyncio.gather(*(self._start_one() for _ in range(self._size)))

    async def end_one(self, number: signal.Signals, *, within_s: float = 60) -> Ended:
        """Signal a ready worker, drawn by chance, wait for its end, and let another start in its place.

        Waits until another one is ready too, where there are several.

        Raises:
            TimeoutError: it did not end in time.
        """
        worker = await self._draw()
        in_flight = self._calls_of(worker)
        at = time.time()
        worker.process.send_signal(number)
        status = await worker.ended(within_s)
        gone = time.time()
        if number is signal.SIGKILL:
            self._journal.note(event="death", client=worker.name, at=at, gone=gone)
        self._replace()
        return Ended(worker=worker, status=status, seconds=gone - at, in_flight=in_flight)

    async def all_ready(self) -> None:
        """Wait until as many as there should be are ready."""
        await asyncio.gather(*self._coming)

    async def stop(self, *, within_s: float = 60) -> list[int]:
        """Let all drain and end; gives their exit statuses."""
        await self.all_ready()
        for worker in self._ready:
            if worker.process.returncode is None:
                worker.process.send_signal(signal.SIGTERM)
            else:
                self.unasked.append(worker)
        return [await worker.ended(within_s) for worker in self._ready]

    async def _draw(self) -> WorkerProcess:
        while True:
            for worker in [each for each in self._ready if each.process.returncode is not None]:
                self._ready.remove(worker)
                self.unasked.append(worker)
                self._replace()
            if len(self._ready) > self._spared:
                return self._ready.pop(self._chance.randrange(len(self._ready)))
            self._changed.clear()
            await self._changed.wait()
            for task in self._coming:
                if task.done():
                    task.result()

    def _replace(self) -> None:
        task = asyncio.create_task(self._start_one())
        self._coming.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._coming.discard(task)  # one that failed stays, for whoever waits next
        self._changed.set()

    async def _start_one(self) -> None:
        worker = await self._stage.start_named(**self._environment)
        await worker.ready(_READY_S)
        self._ready.append(worker)

    def _calls_of(self, worker: WorkerProcess) -> int:
        return sum(
            call.client == worker.name and not call.over for call in self._stage.simulator.calls
        )
