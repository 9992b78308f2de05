"""What the simulated loop runs: processes, as it sees them, and tasks and futures that keep their order.

Sets of tasks and futures are iterated in the order of their hashes; by address, that would differ from run to run.
"""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from tests.simulation.loop import SimulatedLoop


class Host(Protocol):
    """A process, as the loop sees it."""

    name: str
    alive: bool
    orderly: bool
    held: list[asyncio.Handle] | None  # what waits while the process is suspended; None: it runs
    steps_left: int  # its fate comes after so many steps; below zero: it does not

    def meet_fate(self) -> None:
        """Be killed, or suspended."""


PROCESS: Final[contextvars.ContextVar[Host | None]] = contextvars.ContextVar(
    "process", default=None
)


class DiedError(BaseException):
    """The process died just here; nothing of it runs any more."""


class DeadlockError(Exception):
    """Nothing is ready, no timer is set, and the schedule is not over."""


class RunawayError(Exception):
    """The schedule turns in circles, or its time runs on for ever."""


class SimulatedFuture(asyncio.Future[Any]):
    """A future that hashes by number: sets of futures keep the same order in every run of a seed."""

    def __init__(self, *, loop: "SimulatedLoop") -> None:
        super().__init__(loop=loop.as_loop)
        self.number: int = next(loop.numbers)

    def __hash__(self) -> int:
        return self.number


class SimulatedTask(asyncio.Task[Any]):
    """A task that hashes by number and knows its process."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        loop: "SimulatedLoop",
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> None:
        self.number: int = next(loop.numbers)
        self.host = PROCESS.get() if context is None else context.get(PROCESS)
        super().__init__(
            coro, loop=loop.as_loop, name=name or f"task-{self.number}", context=context
        )

    def __hash__(self) -> int:
        return self.number


def work(task: asyncio.Task[Any]) -> str:
    """Name what a task runs."""
    return getattr(task.get_coro(), "__qualname__", "?")
