"""The store harmed under load: an embedded one locked, slow, taken away and full; a Redis stopped, killed and out of memory."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext

from stack import redis as redises
from stack.redis import Redis, find_redis
from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import Trial, bounds, figures, open_trial
from tests.faults.room import RedisRoom
from tests.faults.stores import Fault, embedded_faults, may_mount, redis_faults, tiny_disk
from tests.faults.vhost import ROOT
from worker.store.files import ledger_file

_WORKERS = 2
_CONCURRENCY = 16
_LATENCY = "lognormal(0.5,0.6)"
_JOBS, _FAULTS = 6_000, 48
# Every so many faults, each kind in its turn, one lasts longer than a lease of 15 s, at the end of which nobody may
# look dead.
_LONG_EVERY, _LONG_S = 5, 20.0
_SHORT_S = (0.5, 8.0)


async def run(ground: Ground) -> Measured:
    """Harm an embedded store again and again, mend it each time, and see the jobs go on."""
    async with open_trial(
        ground,
        workers=_WORKERS,
        concurrency=_CONCURRENCY,
        latency=_LATENCY,
        disk=tiny_disk if may_mount() else nullcontext,
    ) as trial:
        folder = trial.stage.store
        disk = folder if folder.is_mount() else None
        return await _harm(
            trial, embedded_faults(ledger_file(folder), disk=disk), what="the embedded store"
        )


async def redis(ground: Ground) -> Measured:
    """Harm a Redis again and again, mend it each time, and see the jobs go on."""
    server, folder = find_redis(ROOT / ".warren/servers"), ground.folder / "redis"
    # What was answered is in its file: a kill loses nothing.
    settings = {"appendfsync": "always"}
    store = redises.start(server, folder, settings=settings, die_with_parent=True)

    def restart() -> Redis:
        return redises.start(
            server, folder, port=store.port, settings=settings, die_with_parent=True
        )

    try:
        async with open_trial(
            ground,
            workers=_WORKERS,
            concurrency=_CONCURRENCY,
            latency=_LATENCY,
            room=RedisRoom(redis=store, prefix="chaos"),
        ) as trial:
            what = f"{store.product} {store.version}"
            return await _harm(trial, redis_faults(store, restart), what=what)
    finally:
        store.kill()


async def _harm(trial: Trial, kinds: Mapping[str, Fault], *, what: str) -> Measured:
    ground = trial.ground
    jobs, faults = ground.scaled(_JOBS, least=200), ground.scaled(_FAULTS, least=4)
    suffered: Counter[str] = Counter()
    back: list[float] = []
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
    told = ", ".join(f"{name} {count}" for name, count in suffered.items())
    return Measured(
        work=f"{faults} faults of {what} ({told}), {findings.jobs:,} jobs of two tenants on {_WORKERS} workers "
        f"with {_CONCURRENCY} calls each",
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
