"""Channels to the simulated broker, with the part of the AMQP library's interface that Warren uses.

One object is both ends: the client's coroutines, and what the broker holds of the channel. They meet through
the connection's pipes alone.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError, DeliveryError
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from producer_sdk.wire import Envelope
from tests.properties import properties_of
from tests.simulation.queues import Message, Queue
from tests.simulation.wires import Connection
from worker.broker.channels import Fetched
from worker.broker.channels import Message as Arrived

T = TypeVar("T")

_EMPTY: Final = ContentHeader()


class Channel:
    """A channel as both ends see it: the client's coroutines, and what the broker holds of it."""

    def __init__(self, connection: Connection) -> None:
        loop = connection.process.world.loop
        self.connection = connection
        self.closing: asyncio.Future[None] = loop.create_future()
        self.on_consumer_cancel_callbacks: set[Callable[..., object]] = set()
        self._loop = loop
        self._broker = connection.broker
        self._pending: dict[asyncio.Future[Any], None] = {}
        self._callbacks: dict[str, Callable[[Arrived], None]] = {}
        self._tags = itertools.count(1)
        # The broker's part.
        self._prefetch = 0
        self._out: dict[int, tuple[Queue, Message]] = {}
        self._consumed: dict[str, Queue] = {}
        self._gone = False
        connection.channels.append(self)

    @property
    def ended(self) -> bool:
        return self.closing.done()

    # The client's coroutines

    async def basic_qos(self, *, prefetch_count: int) -> None:
        await self._ask(self._set_prefetch, prefetch_count)

    async def consume(
        self,
        queue: str,
        take: Callable[[Arrived], None],
        *,
        arguments: Mapping[str, object] | None = None,
    ) -> str:
        assert arguments is None  # the queues are classic
        tag = f"c{next(self._tags)}"
        self._callbacks[tag] = take
        await self._ask(self._consume, queue, tag)
        return tag

    async def basic_cancel(self, tag: str) -> None:
        await self._ask(self._cancel, tag)
        self._callbacks.pop(tag, None)

    async def basic_get(self, queue: str) -> DeliveredMessage:
        return await self._ask(self._get, queue)

    def ack(self, tag: int) -> None:
        self._check()
        self.connection.up.send(self._settle, tag)

    async def basic_nack(self, tag: int, *, requeue: bool) -> None:
        self._check()
        assert requeue
        self.connection.up.send(self._give_back, tag)

    def publish(
        self, exchange: str, routing_key: str, envelope: Envelope, body: bytes
    ) -> "asyncio.Future[bool]":
        properties = properties_of(envelope, f"m{next(self._tags)}")
        return self._send(self._publish, exchange, routing_key, properties, body)

    async def close(self) -> None:
        if not self.ended:
            await self._ask(self.leave)
            self.fail()

    def fail(self) -> None:
        """Be closed for the client: what waits fails, callbacks that still run are cancelled."""
        if self.ended:
            return
        self.closing.set_result(None)
        for future in list(self._pending):
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))

    async def _ask(self, act: Callable[..., T], *args: object) -> T:
        try:
            return await self._send(act, *args)
        except asyncio.CancelledError:  # the library closes a channel whose call was given up
            self.connection.up.send(self.leave)
            self.fail()
            raise

    def _send(self, act: Callable[..., T | Exception], *args: object) -> "asyncio.Future[T]":
        self._check()
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending[future] = None
        future.add_done_callback(lambda _: self._pending.pop(future, None))
        self.connection.up.send(self._answer, future, act, args)
        return future

    def _check(self) -> None:
        if self.ended:
            raise ChannelInvalidStateError("the channel is closed")

    def _deliver(self, tag: str, message: DeliveredMessage) -> None:
        callback = self._callbacks.get(tag)
        if callback is None or self.ended:
            return
        callback(Fetched(message))

    def _resolve(self, future: asyncio.Future[Any], value: object) -> None:
        if future.done():
            return
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)

    # The broker's part

    def leave(self) -> None:
        """Be closed for the broker: what is out goes back to its place."""
        self._gone = True
        for tag in list(self._consumed):
            self._cancel(tag)
        out, self._out = self._out, {}
        for queue, message in out.values():
            self._broker.put_back(queue, message)

    def has_room(self) -> bool:
        return not self._prefetch or len(self._out) < self._prefetch

    def deliver(self, queue: Queue, message: Message) -> None:
        """Hand a message out to the consumer of its queue."""
        number = self._note(queue, message)
        tag = next(each for each, consumed in self._consumed.items() if consumed is queue)
        delivery = Basic.Deliver(tag, number, message.redelivered, message.exchange, message.key)
        self.connection.down.send(self._deliver, tag, self._told(delivery, message))

    def _answer(
        self, future: asyncio.Future[Any], act: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        if self._gone:
            return
        value = act(*args)
        late = self.connection.process.world.weather.confirm_s() if act == self._publish else 0
        if late:
            self._loop.call_later(
                late,
                self.connection.down.send,
                self._resolve,
                future,
                value,
                context=self._loop.world,
            )
        else:
            self.connection.down.send(self._resolve, future, value)

    def _publish(
        self, exchange: str, key: str, properties: Basic.Properties, body: bytes
    ) -> bool | Exception:
        broker = self._broker
        if exchange == "warren.replies" and self.connection.process.world.weather.refuses():
            return DeliveryError(None, Basic.Nack())
        broker.journal.tell("broker", f"{exchange} {key} {properties.correlation_id} stored")
        return broker.publish(exchange, key, properties, body)

    def _set_prefetch(self, count: int) -> None:
        self._prefetch = count

    def _consume(self, name: str, tag: str) -> None:
        queue = self._broker.queues[name]
        self._consumed[tag] = queue
        queue.consumers.append(self)
        # After the answer, which the client expects first.
        self._loop.call_soon(self._broker.dispatch, queue, context=self._loop.world)

    def _cancel(self, tag: str) -> None:
        queue = self._consumed.pop(tag, None)
        if queue is not None:
            queue.consumers.remove(self)

    def _get(self, name: str) -> DeliveredMessage:
        queue = self._broker.queues[name]
        if not queue.ready:
            return DeliveredMessage(Basic.GetEmpty(), _EMPTY, b"", None)  # type: ignore[arg-type]
        message = queue.ready.pop(0)
        queue.unsettled += 1
        number = self._note(queue, message)
        found = Basic.GetOk(
            number, message.redelivered, message.exchange, message.key, len(queue.ready)
        )
        return self._told(found, message)

    def _note(self, queue: Queue, message: Message) -> int:
        number = next(self._tags)
        self._out[number] = (queue, message)
        return number

    def _told(self, delivery: Basic.Deliver | Basic.GetOk, message: Message) -> DeliveredMessage:
        header = ContentHeader(0, len(message.body), message.properties)
        return DeliveredMessage(delivery, header, message.body, self)  # type: ignore[arg-type]

    def _settle(self, number: int) -> None:
        found = self._out.pop(number, None)
        if found is not None:
            found[0].unsettled -= 1
            self._dispatch_all()

    def _give_back(self, number: int) -> None:
        found = self._out.pop(number, None)
        if found is not None:
            self._broker.put_back(*found)

    def _dispatch_all(self) -> None:
        for queue in self._consumed.values():
            self._broker.dispatch(queue)
