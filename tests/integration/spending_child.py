"""A process that spends from a budget until none is left; it is told where on its standard input.

It prints what it has spent by its own count, in US dollars. Given `die`, it ends without settling its last call.
"""

import asyncio
import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from random import Random

from tests.contract.world import Ear
from worker.clock import SystemClock
from worker.core.money import plus, times
from worker.core.spend import Account, Cap, OverBudget, Per
from worker.ports import Store
from worker.store.embedded import EmbeddedStore
from worker.store.redis.options import RedisOptions
from worker.store.redis.store import RedisStore

BUDGET = Cap(account=Account(tenant="acme"), per=Per.MONTH, usd=Decimal("1.00"))
DEAREST = 20_000  # in millionths of a dollar


def say(text: str) -> None:
    """Tell the parent a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def store_of(given: dict[str, str]) -> Store:
    """Give the store that the parent names."""
    clock, ear = SystemClock(), Ear()
    if "path" in given:
        return EmbeddedStore(Path(given["path"]), clock=clock, listener=ear)
    return RedisStore(RedisOptions(**given), clock=clock, listener=ear)  # type: ignore[arg-type]  # three texts


async def spend(given: dict[str, str], seed: int, *, die: bool) -> None:
    """Make calls that cost between a tenth and all of their estimates."""
    dice, spent = Random(seed), Decimal(0)  # noqa: S311  # the same amounts in every run
    async with store_of(given) as store:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        for number in range(10_000):
            estimate = Decimal(dice.randrange(1, DEAREST)).scaleb(-6)
            held = await store.spend.reserve(f"{seed}.{number}", [BUDGET], estimate)
            if isinstance(held, OverBudget):
                break
            cost = times(dice.randrange(1, 11), estimate.scaleb(-1))
            spent = plus(spent, cost)
            if die and number == 5:
                say(f"{spent:f}")
                os._exit(9)
            await store.spend.settle(held, cost)
    say(f"{spent:f}")


if __name__ == "__main__":
    asyncio.run(
        spend(json.loads(sys.stdin.readline()), int(sys.argv[1]), die=sys.argv[2:] == ["die"])
    )
