"""Experiments without a broker: the whole line in one process, under virtual time and a seeded scheduler."""

import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.chaos.experiment import Bound, Ground, Measured
from tests.simulation.many import play_all
from tests.simulation.mutants import MUTANTS, hunt
from tests.simulation.points import POINTS, die_at

_SCHEDULES = 100_000
_DEATHS = 1_000
# Every planted bug shows within so many schedules.
_HUNT = 600


async def schedules(ground: Ground) -> Measured:
    """Play seeded schedules, and hunt the planted bugs to show that the auditor sees."""
    count = ground.scaled(_SCHEDULES, least=500)
    first = ground.chance.randrange(2**32)
    seeds = range(first, first + count)
    tally = await asyncio.to_thread(
        play_all,
        seeds,
        report=lambda so_far, seconds: ground.tell(
            f"{so_far.schedules} schedules, {so_far.schedules / max(seconds, 0.001):.0f}/s"
        ),
    )
    ground.tell("planted bugs")
    missed = await asyncio.to_thread(_missed)
    return Measured(
        work=f"{tally.schedules} schedules from seed {first}, {tally.calls} calls, {len(MUTANTS)} planted bugs",
        bounds=(
            Bound(name="violations", measured=sum(tally.kinds.values()), at_most=0),
            Bound(name="planted bugs missed", measured=missed, at_most=0),
        ),
        figures={
            "steps": tally.steps,
            "hours of virtual time": round(tally.virtual_s / 3600, 1),
            "broken seeds": " ".join(str(seed) for seed, _ in tally.broken) or "none",
        },
    )


async def crash_points(ground: Ground) -> Measured:
    """Let a worker die at each named point, again and again."""
    count = ground.scaled(_DEATHS, least=10)
    first = ground.chance.randrange(2**32)
    ground.tell(f"{len(POINTS)} points, {count} times each")
    rows = await asyncio.to_thread(_die_everywhere, range(first, first + count))
    deaths = sum(crashed for crashed, _, _ in rows)
    return Measured(
        work=f"{len(POINTS)} crash points x {count} from seed {first}, {deaths} deaths at a named step",
        bounds=(
            Bound(name="violations", measured=sum(broken for _, _, broken in rows), at_most=0),
            *(
                Bound(
                    name=f"most calls repeated: {point.name}", measured=most, at_most=point.repeats
                )
                for point, (_, most, _) in zip(POINTS, rows, strict=True)
            ),
        ),
    )


def _missed() -> int:
    return sum(hunt(mutant, range(_HUNT)) is None for mutant in MUTANTS.values())


def _die_everywhere(seeds: range) -> list[tuple[int, int, int]]:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(die_at, seeds=seeds), POINTS))
