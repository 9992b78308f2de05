"""How a delivery waits for what is not there yet: in place for a moment, in a parking queue for longer.

What it waits for, and in which order, is the line's business; see `pipeline`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from worker.core.admission import HOLD, Hold, Verdict, admit
from worker.core.events import TierPaused
from worker.core.lanes import Cause
from worker.core.model import Decided, Job, Snooze
from worker.core.retry import FOLLOWER_SNOOZE, JITTER, spread
from worker.ports import Delivery
from worker.recording import Recording

# How long a job waits for a lane that somebody has paused, before it looks again.
_LOOK_AGAIN: Final = timedelta(minutes=1)


class Look(Enum):
    """What a step says when it decided nothing and the next step is not due either."""

    AGAIN = "facts have changed: look from the top"
    GONE = "the delivery cannot be settled any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Recording):
    """Lets deliveries wait; the line is made of it. See `pipeline.Line`.

    `pause` asks for a lane's consumer to stop taking for a while.
    """

    pause: Callable[[TierPaused], None]
    _quiet: asyncio.Event = field(default_factory=asyncio.Event)

    def quiet(self) -> None:
        """Let deliveries that wait for a permit go unsettled, now and from now on: the worker goes down."""
        self._quiet.set()

    def _admit(self, job: Job, now: datetime) -> Verdict:
        return admit(
            now=now,
            deadline=job.deadline,
            not_before=job.not_before,
            opens_at=self._opens_at(job, now),
            unready=self.upstream.unready(job),
        )

    def _opens_at(self, job: Job, now: datetime) -> datetime | None:
        """Tell when the job's lane opens; None: it is open. Of a pause without an end: when to look again."""
        closed = self.gates[job.queue_key].closed()
        return None if closed is None else closed.until or now + _LOOK_AGAIN

    async def _hold(self, delivery: Delivery, wait: timedelta) -> Look:
        """Wait in place, and look from the top every now and then.

        The next message is looked at too if it takes longer: it may need no call, such as one that the cache
        answers. So as many deliveries may wait here as the lane has slots; to park them would put the oldest job
        behind all others. A worker that goes down leaves them to the broker.
        """
        if wait > HOLD:
            delivery.let_next()
        return await self._wait(asyncio.sleep(min(wait, HOLD).total_seconds()), delivery)

    async def _hold_until_admitted(self, delivery: Delivery, wait: timedelta) -> Decided | Look:
        """Hold a delivery for as long as one may be, and then look from the top, or make room for others."""
        job = delivery.job
        looked = await self._wait(self._until_admitted(job, wait), delivery)
        if looked is Look.GONE:
            return looked
        match self._admit(job, self.clock.now()):
            case Hold(alone=True):
                return await self._make_room(job)
            case _:
                return looked

    async def _until_admitted(self, job: Job, wait: timedelta) -> None:
        """Return when the job need not be held any more, at most as long as one may be; then all is looked at anew.

        Many may wait for one place, and look for it often: so none of them asks the ledger each time.
        """
        left = HOLD
        while left > timedelta():
            await asyncio.sleep(wait.total_seconds())
            left -= wait
            match self._admit(job, self.clock.now()):
                case Hold(wait=again):
                    wait = min(again, left)
                case _:
                    return

    async def _make_room(self, job: Job) -> Decided:
        """Park a job that has waited in place for its model's endpoints, so that the jobs of other models come to theirs."""
        return await self._park(job, Snooze(after=spread(FOLLOWER_SNOOZE, self.chance())))

    async def _postpone(self, job: Job, wait: timedelta, *, shared: bool) -> Decided:
        """Park the job for so long, uncounted."""
        if shared:
            # The whole queue waits for the same, so nothing more is taken meanwhile; and those who
            # were parked come back one after the other.
            self._pause(job, wait)
            wait = min(wait * (1 + JITTER * self.chance()), job.deadline - self.clock.now())
        return await self._park(job, Snooze(after=wait))

    async def _wait(self, for_: Coroutine[Any, Any, object], delivery: Delivery) -> Look:
        """Wait until something is done; not for a delivery that is gone, nor when the worker goes down."""
        waiting = asyncio.ensure_future(for_)
        quiet = asyncio.ensure_future(self._quiet.wait())
        try:
            await first_of(waiting, delivery, quiet)
            if not waiting.done():
                return Look.GONE
            waiting.result()
            return Look.AGAIN
        finally:
            waiting.cancel()
            quiet.cancel()

    def _pause(self, job: Job, wait: timedelta) -> None:
        """Let nothing more be taken of a queue whose jobs all wait for endpoints."""
        self.pause(
            TierPaused(
                tier=job.tier,
                lane=job.lane.value,
                reason="no endpoint takes calls",
                seconds=wait.total_seconds(),
                cause=Cause.ENDPOINTS,
            )
        )


async def first_of(
    future: asyncio.Future[Any], delivery: Delivery, *others: asyncio.Future[Any]
) -> None:
    """Wait for the first of the futures, which are not cancelled, or until the delivery is gone."""
    gone = asyncio.ensure_future(delivery.gone())
    try:
        await asyncio.wait({future, gone, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
