"""Experiment: workers that die at each point of the line where a crash makes a difference, again and again."""

import asyncio
from pathlib import Path
from typing import Final

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.aside import opened
from tests.faults.crashes import POINTS, Crashed, Point, crash
from tests.faults.stage import open_stage

_EACH: Final = 20
# So many points at a time, each on a virtual host and a store of its own: a worker's start is what takes long.
_SIDE_BY_SIDE: Final = 4


async def run(ground: Ground) -> Measured:
    """Kill workers at every point; each crash may add no call, or the one in flight, and break no promise."""
    times = ground.scaled(_EACH)
    places = asyncio.Semaphore(_SIDE_BY_SIDE)
    ended: list[Crashed] = []

    async def die(number: int, point: Point) -> Crashed:
        async with places:
            folder = Path(ground.folder) / f"{number}"
            folder.mkdir()
            async with opened(ground.vhost) as vhost, open_stage(vhost, folder) as stage:
                crashed = await crash(stage, point, times)
        ended.append(crashed)
        ground.tell(f"{sum(each.crashes for each in ended)} crashes, {len(ended)} points done")
        return crashed

    all_crashed = await asyncio.gather(*(die(number, point) for number, point in enumerate(POINTS)))
    crashes = sum(each.crashes for each in all_crashed)
    return Measured(
        work=f"{crashes} crashes, {times} at each of {len(POINTS)} points",
        bounds=(
            Bound(
                name="calls beyond those allowed",
                measured=sum(each.calls_too_many for each in all_crashed),
                at_most=0,
            ),
            Bound(
                name="points at which a promise was broken",
                measured=sum(bool(each.broken) for each in all_crashed),
                at_most=0,
            ),
        ),
        figures={
            point.name: f"{crashed.calls_added} calls more"
            + (f", broken: {', '.join(sorted(crashed.broken))}" if crashed.broken else "")
            for point, crashed in zip(POINTS, all_crashed, strict=True)
        },
    )
