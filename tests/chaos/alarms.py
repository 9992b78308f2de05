"""Memory and disk alarms of the broker: it takes nothing from connections that publish, also no ack."""

import asyncio

from tests.chaos.experiment import Bound, Ground, Measured
from tests.chaos.trial import bounds, figures, open_trial
from tests.faults.brokers import disk_alarm, memory_alarm

_WORKERS = 2
_CONCURRENCY = 16
_ALARMS, _JOBS = 20, 4_000
_SHORT_S, _LONG_S = (
    3.0,
    20.0,
)  # the heartbeat is 5 s: a connection that is silent for twice that is given up
_GOES_ON_S = 30.0


async def run(ground: Ground) -> Measured:
    """Alarms of both kinds in turn; one is longer than two heartbeats."""
    alarms = ground.scaled(_ALARMS, least=2)
    slowest = 0.0
    async with open_trial(
        ground, workers=_WORKERS, concurrency=_CONCURRENCY, latency="uniform(0.3,2)"
    ) as trial:
        broker = trial.stage.vhost.broker
        async with trial.traffic(jobs=ground.scaled(_JOBS, least=100)):
            for number in range(alarms):
                await trial.in_flight(_CONCURRENCY)
                await asyncio.sleep(ground.chance.uniform(0.2, 2))
                long = number == alarms - 1
                alarm = (memory_alarm if number % 2 == 0 else disk_alarm)(broker)
                ground.tell(f"{number + 1} of {alarms} alarms, {trial.load.heard:,} replies")
                await asyncio.to_thread(alarm.__enter__)
                try:
                    await asyncio.sleep(_LONG_S if long else _SHORT_S)
                finally:
                    await asyncio.to_thread(alarm.__exit__, None, None, None)
                slowest = max(slowest, await trial.going_on())
        findings = await trial.settled()
    return Measured(
        work=f"{alarms} alarms, memory and disk in turn, of {_SHORT_S:g} s and one of {_LONG_S:g} s at a heartbeat of 5 s; "
        f"{findings.jobs:,} jobs on {_WORKERS} workers",
        bounds=(
            *bounds(findings, trial),
            Bound(name="repeated calls", measured=len(findings.unrecorded_calls), at_most=0),
            Bound(
                name="seconds until work went on", measured=round(slowest, 1), at_most=_GOES_ON_S
            ),
        ),
        figures=figures(findings),
    )
