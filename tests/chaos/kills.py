"""Worker processes killed at random moments while calls are in flight."""

import asyncio
import time

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import KILL, bounds, figures, open_trial

_WORKERS = 3
_CONCURRENCY = 16
_JOBS, _KILLS = 30_000, 300


async def run(ground: Ground) -> Measured:
    """SIGKILL one worker after the other, and let another start in its place."""
    jobs, kills = ground.scaled(_JOBS, least=300), ground.scaled(_KILLS, least=3)
    in_flight: list[int] = []
    async with open_trial(
        ground, workers=_WORKERS, concurrency=_CONCURRENCY, latency="lognormal(0.5,0.6)"
    ) as trial:
        began = time.monotonic()
        async with trial.traffic(jobs=jobs):
            await trial.in_flight(_CONCURRENCY)
            for number in range(kills):
                await asyncio.sleep(ground.chance.uniform(0.2, 2.2))
                ended = await trial.herd.end_one(KILL)
                in_flight.append(ended.in_flight)
                ground.tell(f"{number + 1} of {kills} kills, {trial.load.heard:,} replies")
        lasted = time.monotonic() - began
        findings = await trial.settled()
    return Measured(
        work=f"{kills} SIGKILLs, {findings.jobs:,} jobs of two tenants on {_WORKERS} workers with {_CONCURRENCY} calls each; "
        f"{sum(in_flight) / kills:.1f} calls in flight at a kill",
        bounds=(
            *bounds(findings, trial),
            Bound(
                name="repeated calls",
                measured=len(findings.unrecorded_calls),
                at_most=findings.in_flight,
            ),
        ),
        figures=figures(findings) | {"seconds under fire": round(lasted, 1)},
    )
