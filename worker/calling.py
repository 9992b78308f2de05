"""One attempt under its time limits: the call lives as long as somebody may still want its answer."""

import asyncio
from collections.abc import Callable, Coroutine
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

    watch = _Watch(called_off, lambda: _wanted_s(job, claims, clock), clock=clock, last=last)
    watch.begin(until)
    try:
        return await upstream.attempt(job, calls_left=tries, may_call=may_call, seat=seat)
    except asyncio.CancelledError:
        if watch.somebody_else_cancelled():
            raise
    finally:
        watch.end()
    # A call that was closed may be charged for all the same.
    upstream_s = clock.monotonic() - began
    work = Work(calls=calls, upstream=timedelta(seconds=upstream_s), unpriced=calls)
    return Attempted(outcome=Failed(kind=watch.why()), work=work)


class _Watch:
    """Closes the current task's call when its time is up or it is called off, by cancelling what the task waits for.

    Most calls end before, and then this was a timer and a callback. `wanted_s` is asked when the call may end, and not
    before `last`: for how many seconds somebody still wants its answer. The call goes on while that is being asked.
    """

    __slots__ = (
        "_asking",
        "_called_off",
        "_cancelled_before",
        "_clock",
        "_closed",
        "_error",
        "_last",
        "_late",
        "_loop",
        "_over",
        "_task",
        "_timer",
        "_until",
        "_wanted_s",
    )

    def __init__(
        self,
        called_off: asyncio.Future[None],
        wanted_s: Callable[[], Coroutine[Any, Any, float]],
        *,
        clock: Clock,
        last: float,
    ) -> None:
        self._loop = called_off.get_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        self._task = task
        self._cancelled_before = task.cancelling()
        self._called_off = called_off
        self._wanted_s = wanted_s
        self._clock = clock
        self._last = last
        self._asking: asyncio.Task[float] | None = None
        self._closed = self._late = self._over = False
        self._error: BaseException | None = None

    def begin(self, until: float) -> None:
        """Watch the call from now on; `until` is when it is asked who wants its answer, or `last`."""
        self._called_off.add_done_callback(self._close)
        self._wait(until)

    def end(self) -> None:
        """Watch no more."""
        # A callback that the loop has scheduled already comes all the same: it must not cancel what the task does next.
        self._over = True
        self._timer.cancel()
        self._called_off.remove_done_callback(self._close)
        if self._asking is not None:
            self._asking.cancel()
        if self._closed:
            self._task.uncancel()

    def somebody_else_cancelled(self) -> bool:
        """Tell whether the task was cancelled, and not only by this."""
        return self._task.cancelling() > self._cancelled_before + self._closed

    def why(self) -> Kind:
        """Tell what ended the call with a cancellation. If nobody asked for that, something below has broken off.

        Raises:
            Exception: nobody could say whether the answer is still wanted, by a bug of ours.
        """
        if self._error is not None:
            raise self._error
        if not self._closed:
            return Kind.CONNECTION
        if self._called_off.done():
            return Kind.CANCELLED
        return Kind.TIMEOUT if self._late else Kind.EXPIRED

    def _wait(self, until: float) -> None:
        self._until = until
        self._timer = self._loop.call_later(max(until - self._clock.monotonic(), 0), self._ring)

    def _ring(self) -> None:
        if self._until >= self._last:
            self._late = True
            self._close()
        else:
            # The call may end while the ledger is asked, or is down: its answer is not thrown away.
            self._asking = self._loop.create_task(self._wanted_s())
            self._asking.add_done_callback(self._asked)
            self._wait(self._last)

    def _asked(self, asking: "asyncio.Task[float]") -> None:
        self._asking = None
        if self._over or self._closed or asking.cancelled():
            return
        self._timer.cancel()
        self._error = asking.exception()
        if self._error is None and (wait := asking.result()):
            self._wait(min(self._last, self._clock.monotonic() + wait))
        else:
            self._late = self._clock.monotonic() >= self._last
            self._close()

    def _close(self, _: "asyncio.Future[None] | None" = None) -> None:
        if self._over or self._closed or self._task.cancelling() > self._cancelled_before:
            return  # once is enough
        self._closed = True
        out_of_time = self._late and not self._called_off.done()
        self._task.cancel(OUT_OF_TIME if out_of_time else None)


async def _wanted_s(job: Job, claims: Claims, clock: Clock) -> float:
    """Give for how many seconds from now a follower still wants the answer; 0: nobody does."""
    wanted = await claims.wanted_until(job.claim_key)
    return 0.0 if wanted is None else max((wanted - clock.now()).total_seconds(), 0.0)
