"""A worker process for the tests: `python child.py MODE FILE ...`; it stops by itself when its input ends."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from producer_sdk.wire import Dedupe
from tests.contract.world import ANSWER, DONE, ONE_CALL, TIMEOUT, Ear, complete, make_job
from worker.clock import SystemClock
from worker.core.model import DeadLetter, Ended, Follow, Started
from worker.store.embedded import EmbeddedStore

ROUNDS = 500


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def hold(store: EmbeddedStore) -> None:
    """Begin a job and keep its claim until the input ends."""
    say(type(await store.ledger.begin(make_job(), max_attempts=9)).__name__)
    await asyncio.to_thread(sys.stdin.read)


async def contend(store: EmbeddedStore) -> None:
    """Begin jobs of one fingerprint; while a call runs, a marker file says so to the other process."""
    marker = store._file.path.with_name("calling")
    started = 0
    for number in range(ROUNDS):
        job = make_job(f"{os.getpid()}-{number}", dedupe=Dedupe.INFLIGHT)
        while True:
            begun = await store.ledger.begin(job, max_attempts=9)
            if not isinstance(begun, Follow):
                break
            await store.ledger.released(job.claim_key, at_most=timedelta(milliseconds=5))
        assert isinstance(begun, Started), begun
        marker.open("x").close()  # fails if another call of the fingerprint runs
        await asyncio.sleep(0)
        marker.unlink()
        started += 1
        letter = DeadLetter(reason=TIMEOUT.kind)
        ended = await store.ledger.end(job, TIMEOUT, letter, work=ONE_CALL, claimed=True)
        assert isinstance(ended, Ended), ended
    say(str(started))


async def load(store: EmbeddedStore) -> None:
    """Complete jobs, 16 at a time, until killed; say each one that is recorded."""

    async def one(lane: int) -> None:
        number = lane
        while True:
            job = make_job(f"{os.getpid()}-{number}")
            await complete(store.ledger, job)
            say(job.key)
            await store.ledger.carried(job, [job.submission], letter=False)
            number += 16

    await asyncio.gather(*(one(lane) for lane in range(16)))


async def begin_one(store: EmbeddedStore) -> None:
    """Open the store as soon as told to, and complete one job in it."""
    job = make_job(str(os.getpid()))
    await store.ledger.begin(job, max_attempts=9)
    say(type(await store.ledger.end(job, ANSWER, DONE, work=ONE_CALL, claimed=True)).__name__)


MODES: dict[str, Callable[[EmbeddedStore], Coroutine[Any, Any, None]]] = {
    "hold": hold,
    "contend": contend,
    "load": load,
    "open": begin_one,
}


async def main() -> None:
    mode, path = sys.argv[1:]
    if mode == "open":
        say("ready")
        sys.stdin.readline()
    async with EmbeddedStore(Path(path), clock=SystemClock(), listener=Ear()) as store:
        await MODES[mode](store)


if __name__ == "__main__":
    asyncio.run(main())
