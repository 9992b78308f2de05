"""The store harmed under load: locked, slow, taken away and, where its disk is its own, full."""

import asyncio
from collections import Counter
from contextlib import nullcontext

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import bounds, figures, open_trial
from tests.faults.stores import embedded_faults, may_mount, tiny_disk
from worker.store.files import ledger_file

_WORKERS = 2
_CONCURRENCY = 16
_JOBS, _FAULTS = 6_000, 48
# Every so many faults, each kind in its turn, one lasts longer than a lease of 15 s, at the end of which nobody may look dead.
_LONG_EVERY, _LONG_S = 5, 20.0
_SHORT_S = (0.5, 8.0)


async def run(ground: Ground) -> Measured:
    """Harm the store again and again, mend it each time, and see the jobs go on."""
    jobs, faults = ground.scaled(_JOBS, least=200), ground.scaled(_FAULTS, least=4)
    suffered: Counter[str] = Counter()
    back: list[float] = []
    async with open_trial(
        ground,
        workers=_WORKERS,
        concurrency=_CONCURRENCY,
        latency="lognormal(0.5,0.6)",
        disk=tiny_disk if may_mount() else nullcontext,
    ) as trial:
        folder = trial.stage.store
        kinds = embedded_faults(ledger_file(folder), disk=folder if folder.is_mount() else None)
        async with trial.traffic(jobs=jobs):
            await trial.in_flight(_CONCURRENCY)
            for number in range(faults):
                name = list(kinds)[number % len(kinds)]
                is_long = number % _LONG_EVERY == _LONG_EVERY - 1
                lasts = _LONG_S if is_long else ground.chance.uniform(*_SHORT_S)
                ground.tell(f"{number + 1} of {faults}: {name} for {lasts:.1f} s")
                async with kinds[name]():
                    await asyncio.sleep(lasts)
                suffered[name] += 1
                back.append(await trial.going_on())
                await asyncio.sleep(ground.chance.uniform(0.2, 2.0))
        findings = await trial.settled()
    return Measured(
        work=f"{faults} faults of the embedded store ({', '.join(f'{name} {n}' for name, n in suffered.items())}), "
        f"{findings.jobs:,} jobs of two tenants on {_WORKERS} workers with {_CONCURRENCY} calls each",
        bounds=(
            *bounds(findings, trial),
            Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0),
            Bound(
                name="seconds until jobs go on again", measured=round(max(back), 1), at_most=15.0
            ),
        ),
        figures=figures(findings)
        | {
            **dict(suffered),
            "seconds until jobs go on, on average": round(sum(back) / len(back), 2),
        },
    )
