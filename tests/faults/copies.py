"""Many copies of one job over many workers: what it costs, and who hears."""

import asyncio
from dataclasses import dataclass

from producer_sdk import Reply
from tests.faults.stage import Stage, chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What became of the copies: calls made, submissions that heard an answer, different answers among them."""

    calls: int
    heard: int
    answers: int
    seconds: float


async def share(stage: Stage, *, workers: int, copies: int, within_s: float = 90) -> Shared:
    """Submit one job so often, with workers enough to be in each other's way, and hear every submission.

    The workers are started first, side by side; each takes as many copies at once as the broker hands over.
    """
    for each in [await stage.start() for _ in range(workers)]:
        await each.ready()
    loop = asyncio.get_running_loop()
    async with stage.client() as client:
        began = loop.time()
        same = (chat("the same", plan="slow(1)", idempotency_key="one") for _ in range(copies))
        jobs = await stage.submit(client, same)
        heard = [each for each in await stage.hear(jobs, within_s) if isinstance(each, Reply)]
        took = loop.time() - began
    return Shared(
        calls=len(stage.simulator.calls),
        heard=len(heard),
        answers=len({reply.body for reply in heard}),
        seconds=took,
    )
