"""A worker process for the tests: `python -m tests.integration.limits_child`; its store comes as JSON on its input.

It asks for the same limit as all others do, says how often it got it, and stops when its input ends.
"""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.contract.world import Ear
from worker.clock import SystemClock
from worker.core.limits import Taken, charges
from worker.ports import Store
from worker.store.embedded import EmbeddedStore
from worker.store.redis.options import RedisOptions
from worker.store.redis.store import RedisStore

TAKES: Final = 200
# Of requests only one fits, of tokens all that ask.
ACCOUNT: Final = charges("alpha", requests_per_minute=1, tokens_per_minute=10**9, tokens=1)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def store(given: dict[str, str]) -> Store:
    clock, ear = SystemClock(), Ear()
    if "path" in given:
        return EmbeddedStore(Path(given["path"]), clock=clock, listener=ear)
    options = RedisOptions(
        url=given["url"],
        password=given["password"],
        prefix=given["prefix"],
        timeout=timedelta(seconds=20),
    )
    return RedisStore(options, clock=clock, listener=ear)


async def main() -> None:
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    async with store(given) as opened:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        told = await asyncio.gather(*(opened.limits.take(ACCOUNT) for _ in range(TAKES)))
        say(str(sum(isinstance(each, Taken) for each in told)))
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
