"""One attempt under its time limits: the call lives as long as somebody may still want its answer."""

import asyncio
from datetime import timedelta

from worker.core.kinds import Kind
from worker.core.model import Attempted, Failed, Job, Work
from worker.ports import Clock, Ledger, Upstream


async def attempt(
    job: Job, *, upstream: Upstream, ledger: Ledger, clock: Clock, tries: int, limit: timedelta
) -> Attempted:
    """Make one attempt of at most `tries` calls, in at most `limit`.

    The job's deadline ends it sooner, unless a follower of the same claim waits longer: then the call lives
    until the latest deadline that joined. When time is up, or this coroutine is cancelled, the call is
    closed at once.
    """
    began = clock.monotonic()
    last = began + limit.total_seconds()
    until = min(last, began + (job.deadline - clock.now()).total_seconds())
    call = asyncio.ensure_future(upstream.attempt(job, calls_left=tries))
    try:
        while True:
            await asyncio.wait({call}, timeout=max(until - clock.monotonic(), 0))
            if call.done():
                return call.result()
            wanted = await ledger.wanted_until(job.claim_key) if until < last else None
            wait = (wanted - clock.now()).total_seconds() if wanted is not None else 0.0
            if wait <= 0:
                break
            until = min(last, clock.monotonic() + wait)
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
    return Attempted(
        outcome=Failed(kind=Kind.TIMEOUT if until >= last else Kind.EXPIRED),
        work=Work(calls=1, upstream=timedelta(seconds=clock.monotonic() - began)),
    )
