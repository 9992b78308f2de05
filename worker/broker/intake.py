"""One consumer per tier and lane: takes deliveries off its queue and hands them over."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeAlias

from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelClosed
from pamqp.commands import Basic

from worker.broker import names
from worker.broker.address import describe, is_loss
from worker.broker.codec import TierRules, read
from worker.broker.connection import Link
from worker.broker.deadletters import quarantined
from worker.broker.delivery import BrokerDelivery, Outlet, Seat
from worker.broker.incoming import Incoming
from worker.broker.trouble import Troubles
from worker.core.events import Quarantined, TierPaused, TierResumed
from worker.errors import Unreadable
from worker.ports import Delivery

# Seconds between two attempts to consume from a queue that is missing or refused.
_QUEUE_RETRY_S: Final = 3.0
# Seconds before a lost channel is replaced.
_LOST_PAUSE_S: Final = 0.1

Take: TypeAlias = Callable[[Delivery], None]
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]


class TierIntake:
    """Consumes one queue on a channel of its own, and again on a new one whenever that is lost.

    `run()` does the work, in a task of the owner. `take` is called for each delivery, in order; it must
    hand over at once and never raise. Unreadable messages are set aside by coroutines given to `spawn`,
    which the owner runs, each in a task of its own that outlives a lost channel.

    The broker hands out at most `concurrency` unsettled deliveries to a consumer. To pause is to cancel the
    consumer and nothing more: what was handed over before is finished or snoozed by its owner, since giving
    it back by closing the channel would deliver again what is being worked on. So right after `resume` up to
    twice as many can be out.
    """

    def __init__(
        self,
        *,
        rules: TierRules,
        concurrency: int,
        link: Link,
        outlet: Outlet,
        troubles: Troubles,
        take: Take,
        spawn: Spawn,
    ) -> None:
        self.rules = rules
        self._queue = names.jobs_queue(rules.tier, rules.lane)
        self._concurrency = concurrency
        self._link = link
        self._outlet = outlet
        self._troubles = troubles
        self._take = take
        self._spawn = spawn
        self._quiet = False
        self._paused = False
        self._resumption: asyncio.TimerHandle | None = None
        self._consumer: str | None = None
        self._cancelled_by_broker = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def consuming(self) -> bool:
        """Tell whether the broker hands out deliveries to us."""
        return self._consumer is not None

    @property
    def paused(self) -> bool:
        """Tell whether `pause` holds."""
        return self._paused

    async def run(self) -> None:
        """Consume until cancelled. The channel stays open then, until its link is closed."""
        while True:
            try:
                seat = Seat(await self._link.channel(confirms=False))
                await self._serve(seat)
                if self._link.connected:
                    self._troubles.tell("consume", self._queue, f"{seat.why()}; it is tried again")
                await asyncio.sleep(_LOST_PAUSE_S)
            except (Exception, asyncio.CancelledError) as error:
                if not is_loss(error):
                    raise
                self._troubles.tell("consume", self._queue, f"{describe(error)}; it is tried again")
                refused = isinstance(error, ChannelClosed)
                await asyncio.sleep(_QUEUE_RETRY_S if refused else self._link.reconnect_s)
            finally:
                self._consumer = None
                self._idle.set()

    async def quiet(self) -> None:
        """Take no more, ever; return when nothing more will be handed over.

        The broker's answer is waited for as long as it takes: a deadline here would close the channel, and
        with it give back all that is being worked on.
        """
        self._quiet = True
        self._changed.set()
        await self._idle.wait()

    def pause(self, for_: timedelta | None, reason: str) -> None:
        """Take no more for so long; None: until `resume`. The last call counts."""
        self._forget_resumption()
        self._paused = True
        seconds = None
        if for_ is not None:
            seconds = for_.total_seconds()
            self._resumption = asyncio.get_running_loop().call_later(seconds, self.resume)
        self._changed.set()
        self._outlet.listener.tell(
            TierPaused(
                tier=self.rules.tier, lane=self.rules.lane.value, reason=reason, seconds=seconds
            )
        )

    def resume(self) -> None:
        """Take again; does nothing when nothing is paused."""
        self._forget_resumption()
        if self._paused:
            self._paused = False
            self._changed.set()
            self._outlet.listener.tell(
                TierResumed(tier=self.rules.tier, lane=self.rules.lane.value)
            )

    def _forget_resumption(self) -> None:
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None

    async def _serve(self, seat: Seat) -> None:
        """Start and cancel the consumer as is wanted, until the channel is lost."""
        channel = seat.channel
        self._cancelled_by_broker = False
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled_by_broker)
        seat.channel.closing.add_done_callback(lambda _: self._changed.set())
        await channel.basic_qos(prefetch_count=self._concurrency)
        while not seat.lost.is_set():
            self._changed.clear()
            wanted = not self._quiet and not self._paused
            if self._cancelled_by_broker:
                self._cancelled_by_broker = False
                self._troubles.tell(
                    "consume",
                    self._queue,
                    "the broker cancelled the consumer, as it does when a queue is deleted; it is tried again",
                )
                await asyncio.sleep(_QUEUE_RETRY_S)
            elif wanted and self._consumer is None:
                await self._consume(seat)
            elif not wanted and self._consumer is not None:
                await channel.basic_cancel(self._consumer)
                self._consumer = None
                self._idle.set()
            else:
                await self._changed.wait()

    async def _consume(self, seat: Seat) -> None:
        self._idle.clear()

        async def on_message(message: DeliveredMessage) -> None:
            self._on_message(seat, message)

        answer = await seat.channel.basic_consume(self._queue, on_message)
        if not self._cancelled_by_broker:
            self._consumer = answer.consumer_tag

    def _on_cancelled_by_broker(self, _: Basic.Cancel) -> None:
        self._consumer = None
        self._idle.set()
        self._cancelled_by_broker = True
        self._changed.set()

    def _on_message(self, seat: Seat, message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        if tag is None:  # an answer of basic.get can lack it; a delivery cannot
            return
        now = self._outlet.clock.now()
        try:
            job = read(Incoming.of(message), rules=self.rules, now=now)
        except Unreadable as error:
            self._spawn(self._set_aside(seat, message, tag, str(error)))
        except Exception as error:  # noqa: BLE001  # else the message would stay out, and its slot with it
            reason = f"Warren failed to read it: {type(error).__name__}"
            self._spawn(self._set_aside(seat, message, tag, reason))
        else:
            self._take(BrokerDelivery(job=job, seat=seat, tag=tag, outlet=self._outlet))

    async def _set_aside(
        self, seat: Seat, message: DeliveredMessage, tag: int, reason: str
    ) -> None:
        """Put a message into quarantine, and only then take it off its queue."""
        tier, lane = self.rules.tier, self.rules.lane
        envelope = quarantined(
            message, tier=tier, lane=lane, reason=reason, now=self._outlet.clock.now()
        )
        await self._outlet.publisher.publish_routed(
            names.DEAD_EXCHANGE, names.QUARANTINE_KEY, envelope, message.body
        )
        await seat.ack(tag)
        self._outlet.listener.tell(Quarantined(tier=tier, reason=reason))
