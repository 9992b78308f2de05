"""The tasks that carry deliveries: owned here, by the worker, and by nobody else.

A connection may come and go while a task runs; only `stop` cancels one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from worker.core.events import Trouble
from worker.ports import Delivery, Listener


class Crew:
    """Runs `handle` for each delivery in a task of its own, and `set_aside` when that fails unexpectedly."""

    def __init__(
        self,
        *,
        handle: Callable[[Delivery], Awaitable[None]],
        set_aside: Callable[[Delivery], Awaitable[None]],
        listener: Listener,
    ) -> None:
        self._handle = handle
        self._set_aside = set_aside
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, delivery: Delivery) -> None:
        """Take a delivery over. Returns at once and never raises."""
        self.spawn(self._own(delivery))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run other work that belongs to the worker, such as setting an unreadable message aside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def held(self) -> int:
        """How many deliveries are held now."""
        return len(self._tasks)

    async def drain(self, grace: timedelta) -> bool:
        """Wait until all that is held is settled; False when the grace period ended first."""
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(set(self._tasks), timeout=grace.total_seconds())
        return not pending

    async def stop(self) -> None:
        """Cancel what is still held: calls are closed, deliveries stay unsettled for the broker."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _own(self, delivery: Delivery) -> None:
        try:
            await self._handle(delivery)
        except Exception as error:  # noqa: BLE001  # a task's border: a bug ends this job, not the worker
            self._tell("a job failed inside Warren and is set aside", delivery, error)
            try:
                await self._set_aside(delivery)
            except Exception as again:  # noqa: BLE001  # see above; the broker still has the message
                self._tell("setting a job aside failed; it stays with the broker", delivery, again)

    def _tell(self, what: str, delivery: Delivery, error: Exception) -> None:
        self._listener.tell(Trouble(what=what, about=delivery.job.id, error=type(error).__name__))
