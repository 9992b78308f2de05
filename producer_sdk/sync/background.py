"""An event loop in a thread of its own, for callers that have none; and what a fork does to it."""

import asyncio
import atexit
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent import futures
from contextlib import suppress
from typing import Any, Final, TypeVar

from producer_sdk.errors import ClientClosed, WrongThread

R = TypeVar("R")

_EXIT_S: Final = 10.0

# Held for moments, never while anything is awaited. A fork takes it too, so that no child inherits it locked or
# a thread half started. Re-entrant, because the collector may run a caller's `finally` while it is held.
fork_safe_moment = threading.RLock()
_running: Final[set["Background"]] = set()
# What a fork brought along is never collected: its destructors would speak of a loop that runs elsewhere.
_left_behind: Final[list["Background"]] = []


class Background:
    """A loop and its thread, of the process that made it; the thread starts with the first call.

    It is a daemon thread, which ends at `end()` or, for at most ten seconds, at the interpreter's exit. `last` is the
    last thing it does: after that whoever still waits in `call` hears `ClientClosed`.
    """

    def __init__(self, *, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        self._pid = os.getpid()
        self._selector = _Selector()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="warren client", daemon=True)
        self._ending = False
        self._end: futures.Future[None] = futures.Future()

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop's own thread, where waiting for the loop would never end."""
        return threading.current_thread() is self._thread

    @property
    def ended(self) -> bool:
        """Whether it takes no more calls."""
        return self._ending

    def call(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Do `work` in the loop and give its result, from any other thread; what interrupts the wait cancels it.

        Raises:
            WrongThread: the caller is the loop's own thread.
            ClientClosed: it has ended, or ends meanwhile, or belongs to the process before a fork.
        """
        with fork_safe_moment:
            self._check()
            future = asyncio.run_coroutine_threadsafe(work(), self._started())
        try:
            return future.result()
        except futures.CancelledError:
            raise ClientClosed("the client was closed during this call") from None
        except BaseException:
            future.cancel()
            raise

    def check_process(self) -> None:
        """Raise `ClientClosed` in a child of the process that made this: nothing will ever come from its loop."""
        if self._pid != os.getpid():
            raise ClientClosed(
                "this belongs to the process before the fork, where its reply goes; in this process ask "
                "the client for `result(job.id)`"
            )

    def post(self, do: Callable[..., object], *arguments: object) -> None:
        """Do something small in the loop, soon; nothing if it has ended."""
        with fork_safe_moment:
            if self._loop is not None and not self._ending and self._pid == os.getpid():
                self._loop.call_soon_threadsafe(do, *arguments)

    def end(self, *, within_s: float | None = None) -> None:
        """Take no more calls, do the last thing, end the thread; again, it waits for the same end.

        Raises:
            WrongThread: the caller is the loop's own thread.
            TimeoutError: that took longer than `within_s`; it goes on.
        """
        if self.is_here:
            raise WrongThread
        with fork_safe_moment:
            if self._pid != os.getpid():
                return
            first, self._ending = not self._ending, True
            if self._loop is None:
                return
            if first:
                self._loop.call_soon_threadsafe(self._stop.set)
        self._end.result(within_s)
        self._thread.join()

    def leave_behind(self) -> None:
        """In a child, let go of the parent's sockets: nothing done to these objects can reach them any more.

        Closing them as objects would not do: the selector is one and the same for both processes, and the parent
        would wait for ever for what the child took out of it.
        """
        null = os.open(os.devnull, os.O_RDWR)
        for fd in self._selector.descriptors():
            with suppress(OSError):
                os.dup2(null, fd, inheritable=False)
        os.close(null)

    def _check(self) -> None:
        if self.is_here:
            raise WrongThread
        if self._ending:
            raise ClientClosed("the client is closed; make a new one, of the same name")
        self.check_process()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.SelectorEventLoop(self._selector)
            _running.add(self)
            try:
                self._thread.start()
            except (
                RuntimeError
            ):  # the process has all the threads that it may have; a later call may be luckier
                _running.discard(self)
                self._loop.close()
                self._loop, self._selector = None, _Selector()
                raise
        return self._loop

    def _run(self) -> None:
        try:
            # Leaving it cancels the tasks that are left, so that no caller waits for them.
            with asyncio.Runner(loop_factory=lambda: self._started()) as runner:  # noqa: PLW0108 - typed
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - whoever ends it hears of it
            self._end.set_exception(error)
        else:
            self._end.set_result(None)
        finally:
            with fork_safe_moment:
                _running.discard(self)

    async def _main(self) -> None:
        await self._stop.wait()
        await self._last()


class _Selector(selectors.DefaultSelector):
    """The platform's selector, that can tell what it holds."""

    def descriptors(self) -> list[int]:
        own = getattr(self, "fileno", None)
        watched = [key.fd for key in (self.get_map() or {}).values()]
        return watched if own is None else [*watched, own()]


def _end_all() -> None:
    """End all within one time for all: first let each begin, then wait."""
    latest = time.monotonic() + _EXIT_S
    running = list(_running)
    for background in running:
        with suppress(Exception):
            background.end(within_s=0)
    for background in running:
        with suppress(Exception):
            background.end(within_s=max(0.0, latest - time.monotonic()))


def _in_child() -> None:
    try:
        for background in _running:
            background.leave_behind()
        _left_behind.extend(_running)
        _running.clear()
    finally:
        fork_safe_moment.release()


atexit.register(_end_all)
if sys.platform != "win32":
    os.register_at_fork(
        before=fork_safe_moment.acquire,
        after_in_parent=fork_safe_moment.release,
        after_in_child=_in_child,
    )
