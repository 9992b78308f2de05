"""A worker process for the tests: `python -m tests.integration.redis_child MODE`; options come as JSON on its input.

It stops by itself when its input ends.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from tests.contract.world import Ear, make_job
from worker.clock import SystemClock
from worker.core.model import Started
from worker.store.redis.options import RedisOptions
from worker.store.redis.store import RedisStore

BEGINS: Final = 250


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def until_input_ends() -> None:
    await asyncio.to_thread(sys.stdin.read)


async def hold(store: RedisStore) -> None:
    """Begin a job and keep its claim until the input ends."""
    say(type(await store.ledger.begin(make_job(), max_attempts=9)).__name__)
    await until_input_ends()


async def contend(store: RedisStore) -> None:
    """Begin one job many times at once, as the others do; say how often it was started here."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    many = [store.ledger.begin(make_job(), max_attempts=9) for _ in range(BEGINS)]
    say(str(sum(isinstance(told, Started) for told in await asyncio.gather(*many))))
    await until_input_ends()


MODES: dict[str, Callable[[RedisStore], Coroutine[Any, Any, None]]] = {
    "contend": contend,
    "hold": hold,
}


async def main() -> None:
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    options = RedisOptions(
        url=given["url"],
        password=given["password"],
        prefix=given["prefix"],
        lease=timedelta(seconds=given["lease_s"]),
        renew_every=timedelta(seconds=given["lease_s"] / 5),
    )
    async with RedisStore(options, clock=SystemClock(), listener=Ear()) as store:
        await MODES[sys.argv[1]](store)


if __name__ == "__main__":
    asyncio.run(main())
