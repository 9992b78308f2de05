"""Workers that are told to end, under load and with calls in flight."""

import asyncio

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import GRACE_S, TERM, bounds, figures, open_trial

_WORKERS = 3
_CONCURRENCY = 16
_SIGTERMS, _JOBS = 100, 5_000


async def run(ground: Ground) -> Measured:
    """SIGTERM one worker after the other; the grace period is longer than any call."""
    count = ground.scaled(_SIGTERMS, least=3)
    in_flight, seconds, statuses = [], [], []
    async with open_trial(
        ground, workers=_WORKERS, concurrency=_CONCURRENCY, latency="uniform(0.2,3)"
    ) as trial:
        async with trial.traffic(jobs=ground.scaled(_JOBS, least=100)):
            for number in range(count):
                await trial.in_flight(_CONCURRENCY)
                await asyncio.sleep(ground.chance.uniform(0.1, 1))
                ended = await trial.herd.end_one(TERM)
                in_flight.append(ended.in_flight)
                seconds.append(ended.seconds)
                statuses.append(ended.status)
                ground.tell(f"{number + 1} of {count} SIGTERMs, {trial.load.heard:,} replies")
        findings = await trial.settled()
    return Measured(
        work=f"{count} SIGTERMs, {findings.jobs:,} jobs on {_WORKERS} workers with {_CONCURRENCY} calls each; "
        f"{sum(in_flight) / count:.1f} calls in flight at a SIGTERM, each up to 3 s",
        bounds=(
            *bounds(findings, trial),
            Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0),
            Bound(
                name="exits with another status than 0",
                measured=sum(map(bool, statuses)),
                at_most=0,
            ),
            Bound(name="slowest exit in seconds", measured=round(max(seconds), 1), at_most=GRACE_S),
        ),
        figures=figures(findings),
    )
