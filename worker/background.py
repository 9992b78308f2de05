"""The parts' own loops: each runs until the worker goes down, and a bug in one ends no other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from worker.core.events import Trouble
from worker.ports import Listener

_RESTART_S: Final = 1.0
_CANCEL_AGAIN_S: Final = 0.5


async def every(seconds: float, act: Callable[[], None]) -> None:
    """Do something again and again, until cancelled."""
    while True:
        act()
        await asyncio.sleep(seconds)


def background(
    resources: AsyncExitStack,
    listener: Listener,
    work: Callable[[], Awaitable[None]],
    name: str,
) -> None:
    """Run a part's own loop until the worker goes down; a bug in it is told, and the loop starts again."""

    async def keep_up() -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # a task's border: one part's bug ends no other part
                listener.tell(
                    Trouble(
                        what="a part of the worker failed and is started again",
                        about=name,
                        error=f"{type(error).__name__}: {error}",
                    )
                )
                await asyncio.sleep(_RESTART_S)
            else:
                return

    task = asyncio.create_task(keep_up(), name=name)

    async def end() -> None:
        # Again and again: the AMQP library swallows a cancellation at times.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)

    resources.push_async_callback(end)
