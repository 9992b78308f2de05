"""One attempt under its time limits: the call lives as long as somebody may still want its answer."""

import asyncio
from datetime import timedelta
from typing import Any

from worker.core.kinds import Kind
from worker.core.model import Attempted, Failed, Job, Work
from worker.core.rations import Permit
from worker.ports import Clock, LaneGate, Ledger, Upstream


async def attempt(
    job: Job,
    *,
    upstream: Upstream,
    ledger: Ledger,
    gate: LaneGate,
    clock: Clock,
    tries: int,
    limit: timedelta,
    called_off: asyncio.Future[None],
) -> Attempted:
    """Make one attempt of at most `tries` calls, in at most `limit`.

    The job's deadline ends it sooner, unless a follower of the same claim waits longer: then the call lives
    until the latest deadline that joined. When time is up, `called_off` is done, or this coroutine is
    cancelled, the call is closed at once. Every try but the first, for which the caller has seen to it, needs an
    open lane and a permit.
    """
    began = clock.monotonic()
    last = began + limit.total_seconds()
    until = min(last, began + (job.deadline - clock.now()).total_seconds())
    if until <= began and not await _wanted_s(job, ledger, clock):
        return Attempted(outcome=Failed(kind=Kind.EXPIRED), work=Work())

    async def may_call() -> bool:
        if gate.closed() is not None or not await ledger.holds(job):
            return False
        return isinstance(await gate.permit(), Permit)

    call = asyncio.ensure_future(upstream.attempt(job, calls_left=tries, may_call=may_call))
    ending: set[asyncio.Future[Any]] = {call, called_off}
    try:
        while not await _first(ending, until - clock.monotonic()) and until < last:
            asking = asyncio.ensure_future(_wanted_s(job, ledger, clock))
            try:
                # The call may end while the ledger is asked, or is down: its answer is not thrown away.
                await _first({*ending, asking}, last - clock.monotonic())
                if call.done() or called_off.done() or not asking.done():
                    break
                if not (wait := asking.result()):
                    break
                until = min(last, clock.monotonic() + wait)
            finally:
                asking.cancel()
    finally:
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
    if not call.cancelled():
        return call.result()
    if called_off.done():
        kind = Kind.CANCELLED
    else:
        kind = Kind.TIMEOUT if clock.monotonic() >= last else Kind.EXPIRED
    return Attempted(
        outcome=Failed(kind=kind),
        work=Work(calls=1, upstream=timedelta(seconds=clock.monotonic() - began)),
    )


async def _first(futures: set[asyncio.Future[Any]], seconds: float) -> bool:
    """Wait for the first of the futures, for so long; tell whether there is one."""
    done, _ = await asyncio.wait(
        futures, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED
    )
    return bool(done)


async def _wanted_s(job: Job, ledger: Ledger, clock: Clock) -> float:
    """Give for how many seconds from now a follower still wants the answer; 0: nobody does."""
    wanted = await ledger.wanted_until(job.claim_key)
    return 0.0 if wanted is None else max((wanted - clock.now()).total_seconds(), 0.0)
