"""The one publisher and the one collector that all contestants share: raw AMQP, so that they are not what is measured."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from benchmarks.letters import Letter

_UNCONFIRMED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where jobs are published to and replies are collected from.

    With `jobs_arguments` the queue `key` is made afresh with them; with `binding`, (exchange, routing key), the queue of replies is bound.
    """

    url: str
    user: str
    exchange: str
    key: str
    replies: str
    jobs_arguments: Mapping[str, Any] | None = None
    binding: tuple[str, str] | None = None


def properties(route: Route, letter: Letter) -> aiormq.spec.Basic.Properties:
    """Give the properties of a letter, which is persistent."""
    return aiormq.spec.Basic.Properties(
        content_type=letter.content_type,
        content_encoding=letter.content_encoding,
        headers=dict(letter.headers),
        delivery_mode=2,
        priority=letter.priority,
        correlation_id=letter.number,
        reply_to=letter.reply_to,
        message_id=uuid.uuid4().hex,
        message_type=letter.kind,
        user_id=route.user,
    )


@dataclass(slots=True)
class Arrivals:
    """When each reply arrived first, in seconds of the wall clock, and how many were no answer or came again."""

    mark: bytes
    at: dict[str, float] = field(default_factory=dict)
    wrong: int = 0
    again: int = 0

    def note(self, number: str, body: bytes, now: float) -> None:
        """Count a reply."""
        if number in self.at:
            self.again += 1
            return
        self.at[number] = now
        if self.mark not in body:
            self.wrong += 1


class PostOffice:
    """Publishes letters and collects replies on a connection of each kind."""

    def __init__(self, route: Route, mark: bytes) -> None:
        self._route = route
        self._out: AbstractConnection
        self._in: AbstractConnection
        self._channel: AbstractChannel
        self._came = asyncio.Event()
        self.arrivals = Arrivals(mark)

    async def __aenter__(self) -> Self:
        self._out = await aiormq.connect(self._route.url)
        self._in = await aiormq.connect(self._route.url)
        self._channel = await self._out.channel(publisher_confirms=True)
        collecting = await self._in.channel()
        if self._route.jobs_arguments is not None:  # the queue is the benchmark's own
            await collecting.queue_delete(self._route.key)
            await collecting.queue_declare(
                self._route.key, durable=True, arguments=dict(self._route.jobs_arguments)
            )
        await collecting.queue_delete(self._route.replies)
        await collecting.queue_declare(self._route.replies, durable=True)
        if self._route.binding is not None:
            exchange, key = self._route.binding
            await collecting.queue_bind(self._route.replies, exchange, routing_key=key)
        await collecting.basic_consume(self._route.replies, self._take, no_ack=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._out.close()
        await self._in.close()

    async def _take(self, message: DeliveredMessage) -> None:
        number = message.header.properties.correlation_id
        self.arrivals.note(str(number), message.body, time.time())
        self._came.set()

    async def fill(self, letters: Iterable[Letter]) -> None:
        """Publish letters, some hundred unconfirmed at a time, until all are confirmed."""
        room = asyncio.Semaphore(_UNCONFIRMED)

        async def send(letter: Letter) -> None:
            try:
                await self.publish(letter)
            finally:
                room.release()

        async with asyncio.TaskGroup() as tasks:
            for letter in letters:
                await room.acquire()
                tasks.create_task(send(letter))

    async def publish(self, letter: Letter) -> None:
        """Publish one letter, persistent, and wait until the broker has confirmed it."""
        await self._channel.basic_publish(
            letter.body,
            exchange=self._route.exchange,
            routing_key=letter.key or self._route.key,
            properties=properties(self._route, letter),
        )

    async def paced(self, letters: Iterable[Letter], per_s: float) -> dict[str, float]:
        """Publish letters at a steady rate, whatever becomes of them; give when each was published."""
        sent: dict[str, float] = {}
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for turn, letter in enumerate(letters):
                await asyncio.sleep(max(began + turn / per_s - loop.time(), 0))
                sent[letter.number] = time.time()
                tasks.create_task(self.publish(letter))
        return sent

    async def collected(self, count: int, alive: Callable[[], bool], within_s: float) -> None:
        """Wait until so many replies have come.

        Raises:
            TimeoutError: they have not, within that time.
            ChildProcessError: `alive` says that the worker has ended.
        """
        await self._until(lambda: len(self.arrivals.at) >= count, alive, within_s)

    async def replied(self, number: str, alive: Callable[[], bool], within_s: float) -> None:
        """Wait until the reply with this number has come; raises as `collected` does."""
        await self._until(lambda: number in self.arrivals.at, alive, within_s)

    async def _until(
        self, come: Callable[[], bool], alive: Callable[[], bool], within_s: float
    ) -> None:
        async with asyncio.timeout(within_s):
            while not come():
                self._came.clear()
                try:
                    async with asyncio.timeout(1):
                        await self._came.wait()
                except TimeoutError:
                    if not alive():
                        raise ChildProcessError("the worker has ended") from None
