"""A producer that submits round after round and tells after each what its process holds.

    python -m tests.faults.soaking_client URL JOBS

It runs a round of JOBS jobs for every line on its standard input, hears all of them, and answers with a line of
JSON: what the process holds (see `holdings`), its asyncio tasks, how many jobs it submitted and heard.
"""

import asyncio
import json
import os
import sys

from producer_sdk import CompletionClient, Job, JobError
from tests.faults.holdings import holdings
from tests.faults.stage import chat

_HEARD_WITHIN_S = 120


async def _round(client: CompletionClient, first: int, count: int) -> tuple[int, int]:
    requests = (chat(f"soak {number}") for number in range(first, first + count))
    jobs = [job async for job in client.submit_many(requests) if isinstance(job, Job)]
    heard = await asyncio.gather(*map(_hear, jobs))
    return len(jobs), sum(heard)


async def _hear(job: Job) -> bool:
    try:
        await job.reply(timeout=_HEARD_WITHIN_S)
    except JobError:
        return False
    return True


async def main(url: str, count: int) -> None:
    async with CompletionClient(url, name="soak") as client:
        number = 0
        while await asyncio.to_thread(sys.stdin.readline):
            submitted, heard = await _round(client, number * count, count)
            number += 1
            held = holdings(os.getpid()) | {
                "tasks": len(asyncio.all_tasks()),
                "submitted": submitted,
                "heard": heard,
            }
            sys.stdout.write(json.dumps(held) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
