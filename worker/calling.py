"""One attempt under its time limits: the call lives as long as somebody may still want its answer."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from worker.core.kinds import Kind
from worker.core.model import Attempted, Failed, Job, Work
from worker.core.rations import Permit
from worker.core.seats import Seat
from worker.errors import StoreUnavailable
from worker.ports import OUT_OF_TIME, Clock, LaneGate, MayCall, Upstream


class Claims(Protocol):
    """What of the ledger a running call needs."""

    async def holds(self, job: Job) -> bool:
        """Tell whether the call may go on; see `Ledger.holds`."""

    async def wanted_until(self, claim_key: str) -> datetime | None:
        """Tell the latest deadline of the followers; see `Ledger.wanted_until`."""


class _NoClaims:
    """The claims of a call without a ledger: nobody else is known to call, or to wait."""

    async def holds(self, job: Job) -> bool:
        del job
        return True

    async def wanted_until(self, claim_key: str) -> datetime | None:
        del claim_key
        return None


NO_CLAIMS: Final[Claims] = _NoClaims()


async def _enough() -> bool:
    """Have the money for another call: nobody counts it."""
    return True


async def attempt(
    job: Job,
    *,
    upstream: Upstream,
    claims: Claims,
    gate: LaneGate,
    clock: Clock,
    tries: int,
    limit: timedelta,
    called_off: asyncio.Future[None],
    seat: Seat | None = None,
    money: MayCall = _enough,
) -> Attempted:
    """Make one attempt of at most `tries` calls, in at most `limit`.

    The job's deadline ends it sooner, unless a follower of the same claim waits longer: then the call lives
    until the latest deadline that joined. When time is up, `called_off` is done, or this coroutine is
    cancelled, the call is closed at once. The first try takes `seat`. Every try but the first, for which the caller has seen to it, needs an
    open lane, `money` for another call, and a permit; while the store cannot tell of them there is none.
    """
    began = clock.monotonic()
    last = began + limit.total_seconds()
    until = min(last, began + (job.deadline - clock.now()).total_seconds())
    if until <= began and not await _wanted_s(job, claims, clock):
        return Attempted(outcome=Failed(kind=Kind.EXPIRED), work=Work())

    calls = 1

    async def may_call() -> bool:
        nonlocal calls
        try:
            may = (
                gate.closed() is None
                and await claims.holds(job)
                and await money()
                and isinstance(await gate.permit(), Permit)
            )
        except StoreUnavailable:
            return False
        calls += may
        return may

    call = asyncio.ensure_future(
        upstream.attempt(job, calls_left=tries, may_call=may_call, seat=seat)
    )
    ending: set[asyncio.Future[Any]] = {call, called_off}
    try:
        while not await _first(ending, until - clock.monotonic()) and until < last:
            asking = asyncio.ensure_future(_wanted_s(job, claims, clock))
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
            late = clock.monotonic() >= last and not called_off.done()
            call.cancel(OUT_OF_TIME if late else None)
            await asyncio.wait({call})
    if not call.cancelled():
        return call.result()
    if called_off.done():
        kind = Kind.CANCELLED
    else:
        kind = Kind.TIMEOUT if clock.monotonic() >= last else Kind.EXPIRED
    return Attempted(
        outcome=Failed(kind=kind),
        # A call that was closed may be charged for all the same.
        work=Work(
            calls=calls, upstream=timedelta(seconds=clock.monotonic() - began), unpriced=calls
        ),
    )


async def _first(futures: set[asyncio.Future[Any]], seconds: float) -> bool:
    """Wait for the first of the futures, for so long; tell whether there is one."""
    done, _ = await asyncio.wait(
        futures, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED
    )
    return bool(done)


async def _wanted_s(job: Job, claims: Claims, clock: Clock) -> float:
    """Give for how many seconds from now a follower still wants the answer; 0: nobody does."""
    wanted = await claims.wanted_until(job.claim_key)
    return 0.0 if wanted is None else max((wanted - clock.now()).total_seconds(), 0.0)
