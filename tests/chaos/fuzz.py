"""Fuzzing by the million, as many processes at a time as there are processors."""

import asyncio
import json
import os
import sys
from collections import Counter

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.vhost import ROOT

_CASES = 1_000_000
_LINES = 200_000
# Cases in one process: news now and then, and a seed that is soon tried again.
_PORTION = 10_000


async def envelopes(ground: Ground) -> Measured:
    """Fuzz what comes over AMQP."""
    return await _fuzz(ground, {"envelopes": ground.scaled(_CASES, least=2000)})


async def answers(ground: Ground) -> Measured:
    """Fuzz what upstreams answer, and lines of batch files."""
    cases = ground.scaled(_CASES, least=2000)
    return await _fuzz(ground, {"answers": cases, "lines": ground.scaled(_LINES, least=1000)})


async def _fuzz(ground: Ground, counts: dict[str, int]) -> Measured:
    ends: Counter[str] = Counter()
    wrong = done = 0
    places = asyncio.Semaphore(os.cpu_count() or 1)

    async def portion(sort: str, number: int, count: int) -> None:
        nonlocal wrong, done
        async with places:
            seed = ground.seed * 100_000 + number
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.fuzzing", sort, str(seed), str(count)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await running.communicate()
        found = json.loads(output)
        ends.update(found["ends"])
        wrong += found["wrong"]
        done += count
        for told in found["told"][:1]:
            ground.tell(told)
        ground.tell(f"{done:,} of {sum(counts.values()):,}, {wrong} wrong")

    async with asyncio.TaskGroup() as group:
        for sort, count in counts.items():
            for number, start in enumerate(range(0, count, _PORTION)):
                group.create_task(portion(sort, number, min(_PORTION, count - start)))
    return Measured(
        work=", ".join(f"{count:,} {sort}" for sort, count in counts.items()),
        bounds=(Bound(name="ends that nobody declared", measured=wrong, at_most=0),),
        figures=dict(ends.most_common()),
    )
