"""Dead letters back into their queues, for operators.

A letter leaves its queue only after the broker has confirmed the copy that replays it. Whenever this ends,
and however, what was not acknowledged goes back to its place. A copy whose letter stayed behind is harmless:
the run that it asks for is begun once only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias

from aiormq.abc import DeliveredMessage

from worker.broker import names
from worker.broker.address import describe, is_loss
from worker.broker.connection import Link
from worker.broker.deadletters import DeadJob, read_letter, replay_copy
from worker.broker.delivery import Seat
from worker.broker.incoming import Incoming
from worker.broker.publisher import Publisher, Unroutable
from worker.core.letters import Selection
from worker.errors import BrokerUnavailable, Unreadable
from worker.ports import Clock

# Copies that wait for their confirms at a time.
FLIGHT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a replay has come: of `total` letters that lay there when it came to their queues.

    `unreadable` were not written by a worker, or break the contract; `homeless` have no queue to go to.
    Both stay where they are, as do those that are not selected.
    """

    total: int = 0
    seen: int = 0
    replayed: int = 0
    unreadable: int = 0
    homeless: int = 0


Report: TypeAlias = Callable[[Progress], None]


class Replay:
    """One replay, to be run once. `report` hears every step of it, at once; it must not block."""

    def __init__(
        self,
        *,
        link: Link,
        publisher: Publisher,
        clock: Clock,
        report: Report = lambda _: None,
        span: timedelta | None = None,
        flight: int = FLIGHT,
    ) -> None:
        self.progress = Progress()
        self._link = link
        self._publisher = publisher
        self._clock = clock
        self._report = report
        self._span = span
        self._slots = asyncio.Semaphore(flight)

    async def run(self, selection: Selection, tiers: Sequence[str]) -> Progress:
        """Replay what is selected of the tiers' dead letters; letters that come meanwhile are left.

        Each job has the replay's `span` from now; None: as long as it had at first.

        Raises:
            BrokerUnavailable: the connection was lost or a queue is missing; what is done is done, and to
                run it again does the rest.
        """
        for tier in tiers:
            if selection.tiers and tier not in selection.tiers:
                continue
            cut = await self._replay_tier(selection, tier)
            if cut is not None:
                raise BrokerUnavailable(
                    f"the replay of {names.dead_queue(tier)} was cut off ({describe(cut)}) after "
                    f"{self.progress.replayed} letters; nothing is lost: run it again for the rest"
                ) from cut
        return self.progress

    async def _replay_tier(self, selection: Selection, tier: str) -> BaseException | None:
        """Replay one queue; give what cut it off, if something did."""
        seat: Seat | None = None
        try:
            async with asyncio.TaskGroup() as flying:
                try:
                    seat = Seat(await self._link.channel(confirms=False))
                    async for message in self._letters(seat, tier):
                        dead = self._selected(message, selection, tier)
                        if dead is not None:
                            await self._slots.acquire()
                            flying.create_task(self._replay_one(seat, message, dead))
                except (Exception, asyncio.CancelledError) as error:
                    if not is_loss(error):
                        raise
                    return error
            return None
        finally:
            if seat is not None:
                await seat.close()

    async def _letters(self, seat: Seat, tier: str) -> AsyncIterator[DeliveredMessage]:
        """Give each letter that lies there now. They stay out until the channel closes."""
        left = 1
        first = True
        while left:
            message = await seat.channel.basic_get(names.dead_queue(tier))
            if message.delivery_tag is None:
                return
            if first:
                left += message.message_count or 0
                self._note(total=left)
                first = False
            left -= 1
            self._note(seen=1)
            yield message

    def _selected(
        self, message: DeliveredMessage, selection: Selection, tier: str
    ) -> DeadJob | None:
        try:
            dead = read_letter(Incoming.of(message), tier=tier)
        except Unreadable:
            self._note(unreadable=1)
            return None
        meant = selection.takes(job_id=dead.job.id, kind=dead.kind, tier=tier)
        return dead if meant else None

    async def _replay_one(self, seat: Seat, message: DeliveredMessage, dead: DeadJob) -> None:
        try:
            job, envelope = replay_copy(dead, now=self._clock.now(), span=self._span)
            published = await self._publisher.publish(
                names.REPLAY_EXCHANGE, job.queue_key, envelope, job.body
            )
            if isinstance(published, Unroutable):
                self._note(homeless=1)
            else:
                seat.ack(message.delivery_tag or 0)
                self._note(replayed=1)
        finally:
            self._slots.release()

    def _note(
        self,
        *,
        total: int = 0,
        seen: int = 0,
        replayed: int = 0,
        unreadable: int = 0,
        homeless: int = 0,
    ) -> None:
        was = self.progress
        self.progress = replace(
            was,
            total=was.total + total,
            seen=was.seen + seen,
            replayed=was.replayed + replayed,
            unreadable=was.unreadable + unreadable,
            homeless=was.homeless + homeless,
        )
        self._report(self.progress)
