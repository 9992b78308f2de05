"""The tasks that carry deliveries: owned here, by the worker, and by nobody else.

A connection may come and go while a task runs; only `stop` cancels one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, Final

from worker.core.events import Trouble
from worker.ports import Delivery, Listener

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 60.0


class Crew:
    """Runs `handle` for each delivery in a task of its own, and `set_aside` when that fails unexpectedly."""

    def __init__(
        self,
        *,
        handle: Callable[[Delivery], Coroutine[Any, Any, None]],
        set_aside: Callable[[Delivery], Awaitable[None]],
        listener: Listener,
    ) -> None:
        self._handle = handle
        self._set_aside = set_aside
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def take(self, delivery: Delivery) -> None:
        """Take a delivery over. Returns at once and never raises."""
        if self._stopped:
            return  # see `spawn`
        # What a failure is followed by stands in no coroutine around the work: each step of it would pass through that.
        task = asyncio.get_running_loop().create_task(self._handle(delivery))
        self._tasks.add(task)
        task.add_done_callback(partial(self._handled, delivery))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run other work that belongs to the worker, such as setting an unreadable message aside."""
        if self._stopped:
            work.close()  # the consumer's end was not confirmed in time; the broker gets the delivery back
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def held(self) -> int:
        """How many deliveries are held now."""
        return len(self._tasks)

    async def drain(self, grace: timedelta) -> bool:
        """Wait until all that is held is settled; False when the grace period ended first.

        What is held may leave more work behind, such as a record that is written late.
        """
        now = asyncio.get_running_loop().time
        end = now() + grace.total_seconds()
        while self._tasks:
            _, pending = await asyncio.wait(set(self._tasks), timeout=max(end - now(), 0))
            if pending:
                return False
        return True

    async def stop(self) -> None:
        """Cancel what is still held: calls are closed, deliveries stay unsettled for the broker.

        Nothing is taken from now on.
        """
        self._stopped = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _handled(self, delivery: Delivery, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a task's border: a bug ends this job, not the worker
            self._tell("a job failed inside Warren and is set aside", delivery, error)
            self.spawn(self._settle_somehow(delivery))

    async def _settle_somehow(self, delivery: Delivery) -> None:
        """Set a delivery aside, again and again if need be: unsettled, it would hold its place for ever."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._set_aside(delivery)
            except Exception as error:  # noqa: BLE001  # see `_handled`
                self._tell("setting a job aside failed; it is tried again", delivery, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return

    def _tell(self, what: str, delivery: Delivery, error: BaseException) -> None:
        self._listener.tell(Trouble(what=what, about=delivery.job.id, error=type(error).__name__))
