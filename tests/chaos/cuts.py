"""Connections cut while calls are in flight: by the broker, by the network at any byte, and without a word."""

import asyncio
from collections import Counter

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import Trial, bounds, figures, open_trial
from tests.faults.proxy import Way

_CONCURRENCY = 50
_CUTS, _JOBS = 200, 6_000
_FURTHEST = 3_000  # bytes: soon, whichever way
_BACK_S = 60.0
# Of twenty cuts so many are of a kind; a half-open connection is noticed only by its heartbeat, which takes a while.
_KINDS = ("broker",) * 5 + ("reset",) * 4 + ("offset",) * 8 + ("half-open",) + ("producer",) * 2


async def run(ground: Ground) -> Measured:
    """Half of the cuts with one worker, half with two, of which the other may get the redelivery."""
    cuts = ground.scaled(_CUTS, least=4)
    done: Counter[str] = Counter()
    parts = []
    for workers, share in ((1, cuts // 2), (2, cuts - cuts // 2)):
        parts.append(await _part(ground, workers=workers, cuts=share, done=done))
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.items()))
    (one, calls_one), (two, calls_two) = parts
    return Measured(
        work=f"{cuts} cuts ({kinds}), half with one worker, half with two, {_CONCURRENCY} calls each; "
        f"{(calls_one + calls_two) / cuts:.1f} calls in flight at a cut",
        bounds=tuple(
            Bound(name=a.name, measured=a.measured + b.measured, at_most=a.at_most + b.at_most)
            for a, b in zip(one.bounds, two.bounds, strict=True)
        ),
        figures={f"{name}, one worker": value for name, value in one.figures.items()}
        | {f"{name}, two workers": value for name, value in two.figures.items()},
    )


async def _part(
    ground: Ground, *, workers: int, cuts: int, done: Counter[str]
) -> tuple[Measured, int]:
    """Cut so often; give what was measured, and the calls in flight at all cuts together."""
    in_flight = 0
    async with open_trial(
        ground, workers=workers, concurrency=_CONCURRENCY, latency="uniform(0.5,3)"
    ) as trial:
        async with trial.traffic(jobs=ground.scaled(_JOBS // 2, least=100)):
            for number in range(cuts):
                await trial.in_flight(_CONCURRENCY // 2)
                await asyncio.sleep(ground.chance.uniform(0.1, 1.5))
                kind = ground.chance.choice(_KINDS)
                in_flight += trial.stage.simulator.stats.in_flight
                await _cut(trial, kind)
                done[kind] += 1
                ground.tell(
                    f"{number + 1} of {cuts} cuts on {workers} workers, {trial.load.heard:,} replies"
                )
        findings = await trial.settled()
    repeated = Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0)
    measured = Measured(
        work="", bounds=(*bounds(findings, trial), repeated), figures=figures(findings)
    )
    return measured, in_flight


async def _cut(trial: Trial, kind: str) -> None:
    """Cut in this way, and wait until whoever was cut off has connected again and work goes on."""
    way = trial.producers_way if kind == "producer" else trial.workers_way
    made_before = way.made
    match kind:
        case "broker":
            await asyncio.to_thread(trial.stage.vhost.close_connections, "worker")
        case "reset" | "producer":
            way.cut()
        case "offset":
            chance = trial.ground.chance
            way.cut_after(chance.randrange(1, _FURTHEST), chance.choice(tuple(Way)))
        case _:
            way.swallow()
    async with asyncio.timeout(_BACK_S):
        while way.made == made_before:  # noqa: ASYNC110  # a count, not an event
            await asyncio.sleep(0.05)
    await trial.going_on(within_s=_BACK_S)
