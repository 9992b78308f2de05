"""One consumer for each queue: takes deliveries off it and hands them over."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

from aiormq.exceptions import ChannelClosed
from pamqp.commands import Basic

from producer_sdk.wire import Lane
from worker.broker import names
from worker.broker.address import describe, is_loss
from worker.broker.channels import Fetched, Message
from worker.broker.codec import TierRules, read
from worker.broker.connection import Link
from worker.broker.deadletters import quarantined
from worker.broker.delivery import BrokerDelivery, Outlet, Place, Room, Seat
from worker.broker.trouble import Troubles
from worker.core.events import Quarantined, TierPaused, TierResumed
from worker.core.lanes import Cause
from worker.errors import Unreadable
from worker.ports import Delivery

# Seconds between two attempts to consume from a queue that is missing or refused.
_QUEUE_RETRY_S: Final = 3.0
# Seconds before a lost channel is replaced.
_LOST_PAUSE_S: Final = 0.1
# What AMQP has room for.
_MOST_PREFETCHED: Final = 65_535
# Seconds between two looks into an empty queue whose messages are fetched.
_EMPTY_S: Final = 0.5
_MILLISECOND: Final = timedelta(milliseconds=1)

D = TypeVar("D")
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]


class Intake(ABC, Generic[D]):
    """Consumes one queue on a channel of its own, and again on a new one whenever that is lost.

    `run()` does the work, in a task of the owner. `take` is called for each delivery, in order; it must
    hand over at once and never raise. Unreadable messages are set aside by coroutines given to `spawn`,
    which the owner runs, each in a task of its own that outlives a lost channel.

    The broker hands out at most `concurrency` unsettled deliveries to a consumer. A lane whose calls are rationed is
    not consumed: its messages are fetched one by one, the next when the one before has its permit, so that
    all others wait in the broker, in their order.

    To pause is to cancel the consumer and nothing more: what was handed over before is finished or snoozed by
    its owner, since giving it back by closing the channel would deliver again what is being worked on. So
    right after `resume` up to twice as many can be out.

    `hold` is how long a delivery may be held, where the queue lets its consumers say so: it must be a quorum queue.
    """

    def __init__(
        self,
        *,
        queue: str,
        tier: str,
        lane: Lane,
        concurrency: int,
        link: Link,
        outlet: Outlet,
        troubles: Troubles,
        take: Callable[[D], None],
        spawn: Spawn,
        hold: timedelta | None = None,
    ) -> None:
        self.tier = tier
        self.lane = lane
        self._queue = queue
        self._concurrency = concurrency
        self._link = link
        self._outlet = outlet
        self._troubles = troubles
        self._take = take
        self._spawn = spawn
        # From 4.3 on a quorum queue's consumer says how long it may hold a delivery; a classic queue refuses that.
        self._hold = hold
        self._rationed = False
        self._reshaped = False
        self._quiet = False
        self._pauses: dict[Cause, asyncio.TimerHandle | None] = {}
        self._consumer: str | None = None
        self._fetching = False
        self._cancelled_by_broker = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def consuming(self) -> bool:
        """Tell whether deliveries are taken off the queue."""
        return self._consumer is not None or self._fetching

    @property
    def paused(self) -> bool:
        """Tell whether a `pause` holds, for whatever cause."""
        return bool(self._pauses)

    def paused_by(self, cause: Cause) -> bool:
        """Tell whether a `pause` for this cause holds."""
        return cause in self._pauses

    async def run(self) -> None:
        """Consume until cancelled. The channel stays open then, until its link is closed."""
        while True:
            try:
                seat = Seat(await self._link.channel(confirms=False))
                try:
                    await self._serve(seat)
                finally:
                    self._consumer = None
                    self._fetching = False
                    self._idle.set()
                if self._link.connected:
                    self._troubles.tell("consume", self._queue, f"{seat.why()}; it is tried again")
                await asyncio.sleep(_LOST_PAUSE_S)
            except (Exception, asyncio.CancelledError) as error:
                if not is_loss(error):
                    raise
                self._troubles.tell("consume", self._queue, f"{describe(error)}; it is tried again")
                refused = isinstance(error, ChannelClosed)
                await asyncio.sleep(_QUEUE_RETRY_S if refused else self._link.reconnect_s)

    def shape(self, *, concurrency: int, rationed: bool) -> None:
        """Hold so many deliveries at most, and fetch them one by one or not, from now on."""
        if (concurrency, rationed) != (self._concurrency, self._rationed):
            self._concurrency, self._rationed = concurrency, rationed
            self._reshaped = True
            self._changed.set()

    async def quiet(self) -> None:
        """Take no more, ever; return when nothing more will be handed over.

        The broker's answer is waited for as long as it takes: a deadline here would close the channel, and
        with it give back all that is being worked on.
        """
        self._quiet = True
        self._changed.set()
        await self._idle.wait()

    def pause(self, for_: timedelta | None, reason: str, cause: Cause = Cause.LANE) -> None:
        """Take no more for so long; None: until `resume` for the same cause, of which the last call counts."""
        self._forget(cause)
        seconds = None if for_ is None else for_.total_seconds()
        self._pauses[cause] = (
            None
            if seconds is None
            else asyncio.get_running_loop().call_later(seconds, self.resume, cause)
        )
        self._changed.set()
        self._outlet.listener.tell(
            TierPaused(
                tier=self.tier, lane=self.lane.value, reason=reason, seconds=seconds, cause=cause
            )
        )

    def resume(self, cause: Cause = Cause.LANE) -> None:
        """Let this cause hold no more, and take again if no other does."""
        if self._forget(cause):
            self._changed.set()
            self._outlet.listener.tell(
                TierResumed(tier=self.tier, lane=self.lane.value, cause=cause, paused=self.paused)
            )

    def _forget(self, cause: Cause) -> bool:
        """Forget a cause and its timer; tell whether it held."""
        if cause not in self._pauses:
            return False
        timer = self._pauses.pop(cause)
        if timer is not None:
            timer.cancel()
        return True

    async def _serve(self, seat: Seat) -> None:
        """Start and cancel the consumer as is wanted, until the channel is lost."""
        channel = seat.channel
        self._cancelled_by_broker = False
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled_by_broker)
        seat.channel.closing.add_done_callback(lambda _: self._changed.set())
        room = Room(self._on_room)
        while not seat.lost.is_set():
            self._changed.clear()
            wanted = not self._quiet and not self._pauses
            consume, fetch = wanted and not self._rationed, wanted and self._rationed
            self._fetching = self._fetching and fetch
            if self._cancelled_by_broker:
                self._cancelled_by_broker = False
                self._troubles.tell(
                    "consume",
                    self._queue,
                    "the broker cancelled the consumer, as it does when a queue is deleted; it is tried again",
                )
                await asyncio.sleep(_QUEUE_RETRY_S)
            elif self._consumer is not None and (self._reshaped or not consume):
                await channel.basic_cancel(self._consumer)
                self._consumer = None
                self._idle.set()
            elif consume and self._consumer is None:
                await self._consume(seat, room)
            elif fetch:
                await self._fetch(seat, room)
            else:
                await self._changed.wait()

    async def _consume(self, seat: Seat, room: Room) -> None:
        self._reshaped = False
        self._idle.clear()
        # It holds for the consumers that start after it.
        await seat.channel.basic_qos(prefetch_count=min(self._concurrency, _MOST_PREFETCHED))
        consumer = await seat.channel.consume(
            self._queue,
            partial(self._on_message, seat, room),
            arguments=None
            if self._hold is None
            else {"x-consumer-timeout": self._hold // _MILLISECOND},
        )
        if not self._cancelled_by_broker:
            self._consumer = consumer

    async def _fetch(self, seat: Seat, room: Room) -> None:
        """Take one message, or wait until there may be one to take."""
        self._reshaped = False
        if room.waiting or room.out >= self._concurrency:
            await self._changed.wait()
            return
        self._idle.clear()
        try:
            message = await seat.channel.basic_get(self._queue)
            self._fetching = True
        finally:
            self._idle.set()
        if isinstance(message.delivery, Basic.GetEmpty):
            with suppress(TimeoutError):
                async with asyncio.timeout(_EMPTY_S):
                    await self._changed.wait()
            return
        self._on_message(seat, room, Fetched(message))

    def _on_room(self) -> None:
        if self._rationed:
            self._changed.set()

    def _on_cancelled_by_broker(self, _: Basic.Cancel) -> None:
        self._consumer = None
        self._idle.set()
        self._cancelled_by_broker = True
        self._changed.set()

    @abstractmethod
    def _read(self, message: Message, seat: Seat, place: Place) -> D:
        """Give the delivery that a message is, or raise `Unreadable`."""

    def _on_message(self, seat: Seat, room: Room, message: Message) -> None:
        place = room.enter()
        try:
            delivery = self._read(message, seat, place)
        except Unreadable as error:
            self._spawn(self._set_aside(seat, message, place, str(error)))
        except Exception as error:  # noqa: BLE001  # else the message would stay out, and its slot with it
            reason = f"Warren failed to read it: {type(error).__name__}"
            self._spawn(self._set_aside(seat, message, place, reason))
        else:
            self._take(delivery)

    async def _set_aside(self, seat: Seat, message: Message, place: Place, reason: str) -> None:
        """Put a message into quarantine, and only then take it off its queue."""
        envelope = quarantined(
            message.decoded(),
            tier=self.tier,
            lane=self.lane,
            reason=reason,
            now=self._outlet.clock.now(),
        )
        await self._outlet.publisher.publish_routed(
            names.DEAD_EXCHANGE, names.QUARANTINE_KEY, envelope, message.body
        )
        place.left()
        seat.ack(message.tag)
        self._outlet.listener.tell(Quarantined(tier=self.tier, reason=reason))


class TierIntake(Intake[Delivery]):
    """Takes the jobs of one lane of one tier."""

    def __init__(  # all by name
        self,
        *,
        rules: TierRules,
        concurrency: int,
        link: Link,
        outlet: Outlet,
        troubles: Troubles,
        take: Callable[[Delivery], None],
        spawn: Spawn,
        hold: timedelta | None = None,
    ) -> None:
        super().__init__(
            queue=names.jobs_queue(rules.tier, rules.lane),
            tier=rules.tier,
            lane=rules.lane,
            concurrency=concurrency,
            link=link,
            outlet=outlet,
            troubles=troubles,
            take=take,
            spawn=spawn,
            hold=hold,
        )
        self.rules = rules

    def _read(self, message: Message, seat: Seat, place: Place) -> Delivery:
        job = read(message.incoming(), rules=self.rules, now=self._outlet.clock.now())
        return BrokerDelivery(job=job, seat=seat, tag=message.tag, outlet=self._outlet, place=place)
