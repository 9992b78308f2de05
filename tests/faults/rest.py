"""Waiting until all work is done, where there is much of it."""

import asyncio
from typing import Final

from tests.faults.stage import Stage

_LOOK_S: Final = 2.0


async def at_rest(stage: Stage, *, within_s: float) -> None:
    """Return when no job's delivery is out or parked; asks seldom, and of the broker's samples first."""
    async with asyncio.timeout(within_s):
        while await asyncio.to_thread(_sampled, stage):  # noqa: ASYNC110  # only the broker knows
            await asyncio.sleep(_LOOK_S)
        await stage.settled(within_s=within_s)


def _sampled(stage: Stage) -> bool:
    rows = stage.vhost.api("GET", f"queues/{stage.vhost.name}")
    assert isinstance(rows, list)
    return any(
        row.get("messages")
        for row in rows
        if row["name"].startswith(("warren.jobs.", "warren.park."))
    )
