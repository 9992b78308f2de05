"""Both stores' limits and those of a process's own, side by side: they must say the same of each step."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.contract.redis_fleet import RedisFleet
from tests.contract.world import EmbeddedFleet, HandClock
from tests.faults.room import RedisRoom
from worker.core.limits import Charge, Full, Meter, Taken
from worker.ownlimits import OwnLimits
from worker.ports import Limits

WALKS, STEPS = 6, 250
# Most steps take little time; some let a meter run empty, and now and then the clock is put back.
PAUSES_S = (0.0, 0.01, 0.3, 0.5, 0.5, 1.7, 8.0, 45.0, 70.0, -2.0, -90.0)
PAUSE_WEIGHTS = (8, 8, 8, 4, 4, 8, 4, 1, 1, 1, 0.5)


def some_charges(chance: random.Random) -> list[Charge]:
    """Give charges on one or two meters, of which a few are beyond the limit."""
    limit = chance.choice((7, 60, 60, 300))
    charges = [Charge(meter=Meter(name="requests", limit=limit), amount=1)]
    if chance.random() < 0.6:
        amount = chance.choice((0, 1, 30, 150, 400, 1500))
        charges.append(Charge(meter=Meter(name="tokens", limit=1000), amount=amount))
    return charges


def same(told: list[Taken | Full]) -> None:
    """Check that all were told the same: taken, or to wait as long for the same meter."""
    first, *others = [each if isinstance(each, Full) else each.charges for each in told]
    assert all(each == first for each in others), told


async def walk(chance: random.Random, twins: list[Limits], clocks: list[HandClock]) -> int:
    held: list[list[Taken]] = []
    refused = 0
    for _ in range(STEPS):
        (pause,) = chance.choices(PAUSES_S, PAUSE_WEIGHTS)
        for clock in clocks:
            clock.pass_by(timedelta(seconds=pause))
        if held and chance.random() < 0.4:
            taken = held.pop(chance.randrange(len(held)))
            amounts = [
                int(each.amount * chance.choice((0, 0.5, 1, 1.5))) for each in taken[0].charges
            ]
            for limits, mine in zip(twins, taken, strict=True):
                await limits.settle(mine, amounts)
            continue
        charges = some_charges(chance)
        told = [await limits.take(charges) for limits in twins]
        same(told)
        kept = [each for each in told if isinstance(each, Taken)]
        if kept:
            held.append(kept)
        else:
            refused += 1
    return refused


async def test_the_stores_and_a_process_by_itself_say_the_same_of_random_lives(
    redis_room: RedisRoom, tmp_path: Path
) -> None:
    refused = 0
    for seed in range(WALKS):
        chance = random.Random(seed)  # noqa: S311  # a test's lot
        embedded = EmbeddedFleet(tmp_path / str(seed))
        redis = RedisFleet(replace(redis_room, prefix=f"{redis_room.prefix}-{seed}"))
        own = HandClock()
        twins: list[Limits] = [
            (await embedded.join()).limits,
            (await redis.join()).limits,
            OwnLimits(own),
        ]
        refused += await walk(chance, twins, [embedded.clock, redis.clock, own])
        for fleet in (embedded, redis):
            await fleet.close()
    assert refused > WALKS * STEPS / 10
