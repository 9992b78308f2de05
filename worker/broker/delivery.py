"""The port `Delivery`: one handing-over of a message, and what may become of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from producer_sdk.wire import REPLIES_EXCHANGE, CompletionReply
from worker.broker import names
from worker.broker.address import describe, is_loss
from worker.broker.channels import DirectChannel
from worker.broker.codec import parked_copy
from worker.broker.deadletters import dead_letter
from worker.broker.publisher import Publisher, Tell
from worker.core.events import Step, StepReached
from worker.core.model import HistoryEntry, Job, Record
from worker.core.parking import hop
from worker.ports import Clock, Listener

# How often a full callback queue is tried before its reply is given up: about half a minute.
_MOST_REFUSALS: Final = 10

REPLY: Final = "reply"
PARKED: Final = "parked"
DEAD: Final = "dead"


class Seat:
    """A channel that deliveries come on, and the news of its end."""

    def __init__(self, channel: DirectChannel) -> None:
        self.channel = channel
        self.lost = asyncio.Event()
        channel.closing.add_done_callback(lambda _: self.lost.set())

    def why(self) -> str:
        """Say how the channel ended."""
        closing = self.channel.closing
        if not closing.done():
            return "it is open"
        error = None if closing.cancelled() else closing.exception()
        return "the channel was closed" if error is None else describe(error)

    async def close(self) -> None:
        """Close the channel, if it is not lost; what was not acknowledged goes back to its place."""
        try:
            await self.channel.close()
        except (Exception, asyncio.CancelledError) as error:
            if not is_loss(error):
                raise

    def ack(self, delivery_tag: int) -> None:
        """Acknowledge a delivery; if the channel is lost do nothing, since the message comes again."""
        try:
            self.channel.ack(delivery_tag)
        except Exception as error:
            if not is_loss(error):
                raise


class Room:
    """How many deliveries of a channel are out, and how many of them wait, or may have to wait, for a permit."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.out = 0
        self.waiting = 0
        self.changed = changed

    def enter(self) -> "Place":
        """Count one more delivery, which waits."""
        self.out += 1
        self.waiting += 1
        return Place(self)


class Place:
    """One delivery's place in the room; each step counts once."""

    __slots__ = ("_out", "_room", "_waiting")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._waiting = self._out = True

    def let_next(self) -> None:
        """Wait for a permit no more."""
        if self._waiting:
            self._waiting = False
            self._room.waiting -= 1
            self._room.changed()

    def left(self) -> None:
        """Be out no more."""
        self.let_next()
        if self._out:
            self._out = False
            self._room.out -= 1
            self._room.changed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where deliveries publish, whom they tell, and who follows their steps (mostly nobody); the same for all of a worker."""

    publisher: Publisher
    listener: Listener
    clock: Clock
    steps: Listener | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerDelivery:
    """A delivery on its channel."""

    job: Job
    seat: Seat = field(repr=False)
    tag: int
    outlet: Outlet = field(repr=False)
    place: Place = field(repr=False)

    async def gone(self) -> None:
        """Return when this delivery can no longer be settled (channel lost)."""
        await self.seat.lost.wait()

    def publish_reply(self, reply: CompletionReply, route: str) -> Coroutine[Any, Any, object]:
        """Publish one reply and return when the broker has confirmed it, or it cannot be had.

        The callback queue is its tenant's own: gone, full or too small, it must not hold the delivery. The
        result stays in the ledger.
        """
        return publish_reply(self.outlet.publisher, reply, route, reached=self._tell(REPLY))

    async def publish_parked(self, job: Job, after: timedelta) -> None:
        """Publish the parked copy and return when the broker has confirmed it.

        It comes back after one hop: at `after` if a parking queue fits, else before, and then `not_before`
        says so.
        """
        stay = hop(after)
        await self.outlet.publisher.publish_routed(
            names.PARK_EXCHANGE,
            f"{stay.level.name}.{job.queue_key}",
            parked_copy(job, stay.ttl),
            job.body,
            reached=self._tell(PARKED),
        )

    async def publish_dead(self, job: Job, record: Record, history: Sequence[HistoryEntry]) -> None:
        """Publish the dead letter and return when the broker has confirmed it."""
        await self.outlet.publisher.publish_routed(
            names.DEAD_EXCHANGE,
            job.tier,
            dead_letter(job, record, history, self.outlet.clock.now()),
            job.body,
            reached=self._tell(DEAD),
        )

    def let_next(self) -> None:
        """Let the next message be taken, where they are taken one by one."""
        self.place.let_next()

    async def ack(self) -> None:
        """Settle the delivery on the channel that it came on; a lost channel: do nothing, it comes again."""
        self.place.left()
        self.seat.ack(self.tag)

    def _tell(self, copy: str) -> Tell | None:
        steps = self.outlet.steps
        return None if steps is None else partial(_reached, steps, self.job.id, copy)


def _reached(steps: Listener, job_id: str, copy: str, step: Step) -> None:
    steps.tell(StepReached(step=step, job_id=job_id, copy=copy))


def publish_reply(
    publisher: Publisher, reply: CompletionReply, route: str, *, reached: Tell | None = None
) -> Coroutine[Any, Any, object]:
    """Publish one reply and return when the broker has confirmed it, or it cannot be had."""
    return publisher.publish(
        REPLIES_EXCHANGE,
        route,
        reply.envelope(),
        reply.body,
        reached=reached,
        most_refusals=_MOST_REFUSALS,
    )
