"""An event loop with virtual time and seeded order: no socket, no thread, no sleep.

Time stands still while anything is ready, and then jumps to the next timer. Which of the ready callbacks runs
next is drawn from the seed, within what asyncio promises: the callbacks of one future run in their order, and a
process that is `orderly` runs its own strictly first come, first served, as real loops do. Processes share
the loop; a callback belongs to the process in whose context it was made. A dead process's callbacks never
run: its tasks stop where they are, without cleaning up, as after SIGKILL. A suspended one's wait.
"""

import asyncio
import contextvars
import heapq
import inspect
import itertools
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tests.simulation.tasks import (
    PROCESS,
    DeadlockError,
    DiedError,
    Host,
    RunawayError,
    SimulatedFuture,
    SimulatedTask,
    work,
)

if TYPE_CHECKING:
    from types import CoroutineType

T = TypeVar("T")

# A schedule has some thousand steps; one that goes on for so many turns in circles.
_MOST_STEPS: Final = 150_000


class SimulatedLoop:
    """One schedule's loop, with the part of asyncio's interface that tasks, futures and timers use.

    `trace`, when it is a list, gets a line for every step.
    """

    def __init__(self, chance: Random, *, latest: float) -> None:
        self.chance = chance
        self.numbers = itertools.count(1)
        self.steps = 0
        self.tasks: list[SimulatedTask] = []
        self.trace: list[str] | None = None
        self.errors: list[str] = []
        self.world = contextvars.copy_context()
        self.idle: Callable[[], None] = lambda: None
        self._latest = latest
        self._now = 1000.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._over = False
        self.as_loop = cast("asyncio.AbstractEventLoop", self)

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._over

    def is_closed(self) -> bool:
        return self._over

    def create_future(self) -> asyncio.Future[Any]:
        return SimulatedFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        task = SimulatedTask(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self.as_loop, context)
        if not self._over:
            self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self.as_loop, context)
        if not self._over:
            heapq.heappush(self._timers, (when, next(self.numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it where it is: it is dropped when its time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self._over and not isinstance(error, DiedError):
            self.errors.append(f"{context.get('message')}: {error!r}")

    # What a schedule asks of it

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main` is done; then end everything that is left. Errors: as `go_on`."""
        try:
            return self.go_on(main)
        finally:
            self.end()

    def go_on(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until `main`, which belongs to no process, is done.

        Raises:
            DeadlockError: nothing can happen any more.
            RunawayError: it does not come to an end.
        """
        asyncio._set_running_loop(self.as_loop)
        try:
            task = self.create_task(main, context=self.world)
            while not task.done():
                self._step()
            return task.result()
        finally:
            asyncio._set_running_loop(None)

    def end(self) -> None:
        """Close what is left, so that nothing of it runs when it is collected."""
        asyncio._set_running_loop(self.as_loop)
        try:
            self._close_all()
        finally:
            asyncio._set_running_loop(None)

    def release(self, handles: list[asyncio.Handle]) -> None:
        """Let what a suspended process was about to do be ready again."""
        self._ready[:0] = handles

    def _step(self) -> None:
        ready = self._ready
        if not ready:
            self.idle()
            if not ready:
                self._advance()
        index = self._choose()
        handle: Any = ready.pop(index)
        if handle._cancelled:
            return
        context: contextvars.Context = handle._context
        host = context.get(PROCESS)
        if host is not None and not _runs(host, handle):
            return
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise RunawayError(f"{_MOST_STEPS} steps, and no end")
        if self.trace is not None:
            self.trace.append(
                f"{self._now:.6f} {self.steps} {_named(host)} {_about(handle._callback)}"
            )
        try:
            context.run(handle._callback, *handle._args)
        except DiedError:
            pass
        except Exception as error:  # noqa: BLE001  # a loop's border
            self.errors.append(f"a callback raised {error!r}")

    def _choose(self) -> int:
        """Draw one of the ready callbacks, and give the first that must not run after it."""
        ready: list[Any] = self._ready
        if len(ready) == 1:
            return 0
        index = int(self.chance.random() * len(ready))
        chosen: Any = ready[index]
        host = chosen._context.get(PROCESS)
        if host is not None and host.orderly:
            for each in range(index):
                if ready[each]._context.get(PROCESS) is host:
                    return each
            return index
        args = chosen._args
        if args and isinstance(args[0], asyncio.Future):
            for each in range(index):
                others = ready[each]._args
                if others and others[0] is args[0]:
                    return each
        return index

    def _advance(self) -> None:
        timers, ready = self._timers, self._ready
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise DeadlockError("nothing is ready, no timer is set, and the schedule is not over")
        self._now = max(self._now, timers[0][0])
        if self._now > self._latest:
            raise RunawayError(f"{self._latest:.0f} s of virtual time, and no end")
        while timers and timers[0][0] <= self._now:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                ready.append(handle)

    def _close_all(self) -> None:
        self._over = True
        self._ready.clear()
        self._timers.clear()
        task: Any
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False
                _close(cast("CoroutineType[Any, Any, Any]", task.get_coro()))
            elif not task.cancelled():
                task.exception()  # nobody is left to be told
        self.tasks.clear()


def _runs(host: Host, handle: asyncio.Handle) -> bool:
    """Tell whether a process takes this step: it lives, and is not suspended."""
    if host.steps_left == 0 and host.held is None:
        host.meet_fate()
    if host.held is not None:
        host.held.append(handle)
        return False
    host.steps_left -= 1
    return host.alive


def _close(coroutine: "CoroutineType[Any, Any, Any]") -> None:
    """Close a coroutine from the inside out; what waits while it is cleaned up is closed as well."""
    for _ in range(20):
        inner = coroutine.cr_await
        if inspect.iscoroutine(inner):
            _close(inner)
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001, S112  # it waits while it is closed, or minds being closed
            continue
        return


def _named(host: Host | None) -> str:
    return "world" if host is None else host.name


def _about(callback: object) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, SimulatedTask):
        return f"{owner.number} {work(owner)}"
    return getattr(callback, "__qualname__", type(callback).__name__)
