"""Workers that are stopped for longer than their lease, and then go on as if nothing had been."""

import asyncio

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import bounds, figures, open_trial

_WORKERS = 3
_CONCURRENCY = 16
_SUSPENSIONS, _JOBS = 6, 3_000
_FOR_S = 25.0  # the lease is 15 s


async def run(ground: Ground) -> Measured:
    """SIGSTOP one worker after the other; meanwhile the others take its jobs over."""
    count = ground.scaled(_SUSPENSIONS)
    in_flight: list[int] = []
    async with open_trial(
        ground, workers=_WORKERS, concurrency=_CONCURRENCY, latency="lognormal(0.5,0.6)"
    ) as trial:
        async with trial.traffic(jobs=ground.scaled(_JOBS, least=100)):
            for number in range(count):
                await trial.in_flight(_CONCURRENCY)
                await asyncio.sleep(ground.chance.uniform(0.2, 2.2))
                in_flight.append(await trial.herd.suspend_one(_FOR_S))
                ground.tell(f"{number + 1} of {count} suspensions, {trial.load.heard:,} replies")
        findings = await trial.settled()
    return Measured(
        work=f"{count} suspensions of {_FOR_S:g} s, {findings.jobs:,} jobs on {_WORKERS} workers with {_CONCURRENCY} calls each; "
        f"{sum(in_flight) / count:.1f} calls in flight at a suspension",
        bounds=(
            *bounds(findings, trial),
            Bound(
                name="repeated calls",
                measured=len(findings.unrecorded_calls),
                at_most=findings.in_flight,
            ),
        ),
        figures=figures(findings),
    )
