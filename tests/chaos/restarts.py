"""The broker restarted under load, politely and by SIGKILL, on the machine's RabbitMQ and on a newer one."""

import asyncio

from stack.errors import StackError
from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import bounds, figures, open_trial
from tests.faults.brokers import restart

_WORKERS = 2
_CONCURRENCY = 16
_RESTARTS, _JOBS = 20, 6_000
_NEWER = "trixie"  # 4.0
_BACK_S = 60.0


async def run(ground: Ground) -> Measured:
    """Half of the restarts on each version, where the newer one can be had; every other one by SIGKILL."""
    restarts = ground.scaled(_RESTARTS, least=2)
    releases: list[str | None] = [None]
    why_not = ""
    if restarts >= 2 * 2:
        try:
            await asyncio.to_thread(ground.broker, _NEWER)
            releases.append(_NEWER)
        except StackError as error:
            why_not = f"; none of {_NEWER}: {error}"
    parts = []
    for number, release in enumerate(releases):
        share = restarts // len(releases) + (number < restarts % len(releases))
        parts.append(await _part(ground, release, restarts=share, all_=len(releases)))
    versions = " and ".join(ground.broker(release).version for release in releases)
    jobs = sum(int(part.figures["jobs"]) for part in parts)
    found: dict[str, Bound] = {}
    for part in parts:
        for bound in part.bounds:
            sum_ = found.get(bound.name)
            measured = bound.measured if sum_ is None else _together(sum_, bound)
            found[bound.name] = Bound(name=bound.name, measured=measured, at_most=bound.at_most)
    return Measured(
        work=f"{restarts} restarts, half by SIGKILL, of RabbitMQ {versions}{why_not}; {jobs:,} jobs on {_WORKERS} workers",
        bounds=tuple(found.values()),
        figures={
            f"{name}, {release or 'machine'}": value
            for release, part in zip(releases, parts, strict=True)
            for name, value in part.figures.items()
        },
    )


def _together(one: Bound, other: Bound) -> float:
    """Add counts; of durations the longest counts."""
    seconds = "seconds" in one.name
    return max(one.measured, other.measured) if seconds else one.measured + other.measured


async def _part(ground: Ground, release: str | None, *, restarts: int, all_: int) -> Measured:
    slowest = 0.0
    async with open_trial(
        ground,
        workers=_WORKERS,
        concurrency=_CONCURRENCY,
        latency="uniform(0.3,2)",
        release=release,
    ) as trial:
        async with trial.traffic(jobs=ground.scaled(_JOBS // all_, least=100)):
            for number in range(restarts):
                await trial.in_flight(_CONCURRENCY)
                await asyncio.sleep(ground.chance.uniform(0.2, 2))
                broker, kill = trial.stage.vhost.broker, number % 2 == 1
                ground.tell(f"{number + 1} of {restarts} restarts, {trial.load.heard:,} replies")
                await asyncio.to_thread(restart, broker, lambda: ground.broker(release), kill=kill)
                slowest = max(slowest, await trial.going_on())
        findings = await trial.settled()
    return Measured(
        work="",
        bounds=(
            *bounds(findings, trial),
            Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0),
            Bound(name="seconds until work went on", measured=round(slowest, 1), at_most=_BACK_S),
        ),
        figures=figures(findings),
    )
