"""Life signs and sweeps go on whatever one of them fails by."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from worker.store import upkeep

OFTEN, NEVER = timedelta(milliseconds=1), timedelta(hours=1)


def failing_once(done: asyncio.Event) -> Callable[[], Awaitable[bool]]:
    """Give what fails by a bug at first, and sets `done` the second time."""
    calls = iter([ValueError("a bug")])

    async def act() -> bool:
        for error in calls:
            raise error
        done.set()
        return True

    return act


async def nothing() -> bool:
    return True


async def test_a_bug_in_a_renewal_ends_no_renewals_and_is_told() -> None:
    done, told = asyncio.Event(), list[str]()
    tasks = upkeep.keep_up(
        renew=failing_once(done),
        renew_every=OFTEN,
        sweep=lambda: asyncio.sleep(0),
        sweep_every=NEVER,
        tell=lambda what, error: told.append(f"{what}: {error}"),
    )
    async with asyncio.timeout(5):
        await done.wait()
    await upkeep.end(tasks)
    assert told == ["the lease could not be renewed, by a mistake of ours: a bug"]


async def test_a_bug_in_a_sweep_ends_no_sweeps_and_is_told() -> None:
    done, told = asyncio.Event(), list[str]()
    act = failing_once(done)

    async def sweep() -> None:
        await act()

    tasks = upkeep.keep_up(
        renew=nothing,
        renew_every=NEVER,
        sweep=sweep,
        sweep_every=OFTEN,
        tell=lambda what, error: told.append(f"{what}: {error}"),
    )
    async with asyncio.timeout(5):
        await done.wait()
    await upkeep.end(tasks)
    assert told == ["expired records could not be dropped; the next sweep tries again: a bug"]
    assert all(task.cancelled() for task in tasks)
