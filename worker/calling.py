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
    if until <= began and not await _wanted_s(job, ledger, clock):
        return Attempted(outcome=Failed(kind=Kind.EXPIRED), work=Work())

    async def may_call() -> bool:
        return await ledger.holds(job)

    asking: asyncio.Future[float] | None = None
    call = asyncio.ensure_future(upstream.attempt(job, calls_left=tries, may_call=may_call))
    try:
        while True:
            await asyncio.wait({call}, timeout=max(until - clock.monotonic(), 0))
            if call.done() or until >= last:
                break
            asking = asyncio.ensure_future(_wanted_s(job, ledger, clock))
            # The call may end while the ledger is asked, or is down: its answer is not thrown away.
            await asyncio.wait(
                {call, asking},
                timeout=max(last - clock.monotonic(), 0),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if call.done() or not asking.done():
                break
            if not (wait := asking.result()):
                break
            until = min(last, clock.monotonic() + wait)
    finally:
        if asking is not None:
            asking.cancel()
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
    if not call.cancelled():
        return call.result()
    return Attempted(
        outcome=Failed(kind=Kind.TIMEOUT if clock.monotonic() >= last else Kind.EXPIRED),
        work=Work(calls=1, upstream=timedelta(seconds=clock.monotonic() - began)),
    )


async def _wanted_s(job: Job, ledger: Ledger, clock: Clock) -> float:
    """Give for how many seconds from now a follower still wants the answer; 0: nobody does."""
    wanted = await ledger.wanted_until(job.claim_key)
    return 0.0 if wanted is None else max((wanted - clock.now()).total_seconds(), 0.0)
