"""What a store does beside its operations for as long as it is open: it shows life, and drops what has expired."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Final, TypeAlias

Tell: TypeAlias = Callable[[str, Exception], None]

# After a failed renewal the next one comes this much sooner.
_HURRY: Final = 5


def keep_up(
    *,
    renew: Callable[[], Awaitable[bool]],
    renew_every: timedelta,
    sweep: Callable[[], Awaitable[None]],
    sweep_every: timedelta,
    tell: Tell,
) -> list[asyncio.Task[None]]:
    """Renew and sweep until `end` ends the tasks; `tell` hears of what they fail by.

    No failure ends them, not even a bug: a process whose lease is renewed no more loses its claims.
    """
    return [
        asyncio.create_task(
            _renew_for_ever(renew, renew_every.total_seconds(), tell), name="store-lease"
        ),
        asyncio.create_task(
            _sweep_for_ever(sweep, sweep_every.total_seconds(), tell), name="store-sweeper"
        ),
    ]


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks of `keep_up`, and return when they have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


async def _renew_for_ever(renew: Callable[[], Awaitable[bool]], every: float, tell: Tell) -> None:
    pause = every
    while True:
        await asyncio.sleep(pause)
        worked = False
        try:
            worked = await renew()
        except Exception as error:  # noqa: BLE001  # a task's border: who shows life no more loses its claims
            tell("the lease could not be renewed, by a mistake of ours", error)
        pause = every if worked else every / _HURRY


async def _sweep_for_ever(sweep: Callable[[], Awaitable[None]], every: float, tell: Tell) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await sweep()
        except Exception as error:  # noqa: BLE001  # a task's border: the store fills up unless it is tried again
            tell("expired records could not be dropped; the next sweep tries again", error)
