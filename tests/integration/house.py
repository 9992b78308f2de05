"""A worker's side of the broker, and what tests do around it, in a test's own virtual host."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiormq
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from producer_sdk.wire import CompletionRequest, Dedupe, Lane
from tests.faults.vhost import Vhost
from worker.broker.address import Address
from worker.broker.codec import TierRules
from worker.broker.connection import Connections
from worker.broker.delivery import BrokerDelivery, Outlet
from worker.broker.intake import TierIntake
from worker.broker.management import Management
from worker.broker.publisher import Publisher
from worker.broker.trouble import Troubles
from worker.core.events import Event
from worker.ports import Delivery

TIERS = ("premium", "standard", "budget")
QUEUE = "warren.jobs.standard.interactive"
KEY = "standard.interactive"
BODY = b'{"model":"m","messages":[]}'
WAIT_S = 20.0
REPLIES = "warren.reply.producer.client"
ROUTE = "producer.client"

E = TypeVar("E", bound=Event)


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Ears:
    """A listener that remembers, and that one can wait on."""

    heard: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: Event) -> None:
        self.heard.append(event)
        self._news.set()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():
                self._news.clear()
                await self._news.wait()


@dataclass
class Desk:
    """Takes deliveries, keeps them, and can be waited on."""

    taken: list[BrokerDelivery] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, delivery: Delivery) -> None:
        assert isinstance(delivery, BrokerDelivery)
        self.taken.append(delivery)
        self._news.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def wait_for(self, count: int) -> list[BrokerDelivery]:
        async with asyncio.timeout(WAIT_S):
            while len(self.taken) < count:
                self._news.clear()
                await self._news.wait()
        return self.taken


@dataclass(frozen=True)
class House:
    vhost: Vhost
    producer: AbstractChannel

    @property
    def admin(self) -> Management:
        return Management(
            url=f"http://127.0.0.1:{self.vhost.broker.http_port}",
            user="admin",
            password=self.vhost.passwords["admin"],
            vhost=self.vhost.name,
        )

    def address(self, user: str = "worker") -> Address:
        return Address.parse(self.vhost.url(user))

    async def api(self, method: str, path: str, body: object | None = None) -> object:
        """Ask the management API about the virtual host: `{v}` in the path is its name."""
        return await asyncio.to_thread(
            self.vhost.api, method, path.replace("{v}", self.vhost.name), body
        )

    async def reply_queue(self, **arguments: object) -> None:
        """Make the producer's reply queue, and bind it."""
        await self.api("PUT", f"queues/{{v}}/{REPLIES}", {"durable": True, "arguments": arguments})
        path = f"bindings/{{v}}/e/warren.replies/q/{REPLIES}"
        await self.api("POST", path, {"routing_key": ROUTE})

    async def get(self, queue: str) -> DeliveredMessage:
        """Take a message off a queue, as the administrator, waiting for it a while."""
        connection = await aiormq.connect(self.vhost.url("admin"))
        try:
            channel = await connection.channel()
            async with asyncio.timeout(WAIT_S):
                while True:
                    message = await channel.basic_get(queue, no_ack=True)
                    if message.delivery_tag is not None:
                        return message
                    await asyncio.sleep(0.05)
        finally:
            await connection.close()

    async def count(self, queue: str) -> int:
        """Give how many messages are ready in a queue, right now."""
        connection = await aiormq.connect(self.vhost.url("admin"))
        try:
            channel = await connection.channel()
            answer = await channel.queue_declare(queue, passive=True)
            return answer.message_count or 0
        finally:
            await connection.close()

    async def submit(
        self,
        name: str,
        *,
        headers: dict[str, Any] | None = None,
        body: bytes = BODY,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Publish a submission as the producer would, or with parts that it would not send."""
        envelope = CompletionRequest(
            submission_id=name,
            path="/v1/chat/completions",
            body=body,
            submitted_at=datetime.now(UTC),
            reply_to="producer.client",
        ).envelope()
        given: dict[str, Any] = {
            "correlation_id": envelope.correlation_id,
            "reply_to": envelope.reply_to,
            "priority": envelope.priority,
            "delivery_mode": 2,
            "user_id": "producer",
            "headers": {**envelope.headers, **(headers or {})},
        } | (properties or {})
        await self.producer.basic_publish(
            body,
            exchange="warren.requests",
            routing_key=KEY,
            properties=Basic.Properties(**given),
            mandatory=True,
        )


@asynccontextmanager
async def open_house(vhost: Vhost) -> AsyncIterator[House]:
    connection = await aiormq.connect(vhost.url("producer"))
    try:
        yield House(vhost, await connection.channel())
    finally:
        await connection.close()


@dataclass
class Worker:
    """The broker's side of a worker: connections, a publisher, and one intake of the tier `standard`."""

    connections: Connections
    publisher: Publisher
    outlet: Outlet
    ears: Ears
    desk: Desk
    intake: TierIntake


@asynccontextmanager
async def open_worker(
    house: House,
    *,
    concurrency: int = 64,
    publish_timeout: timedelta = timedelta(seconds=10),
    hold: timedelta | None = None,
) -> AsyncIterator[Worker]:
    ears, desk = Ears(), Desk()
    troubles = Troubles(ears, every=timedelta())
    connections = Connections.to(house.address(), troubles=troubles)
    publisher = Publisher(connections.publish, troubles, timeout=publish_timeout)
    outlet = Outlet(publisher=publisher, listener=ears, clock=WallClock(), steps=ears)
    intake = TierIntake(
        rules=RULES,
        concurrency=concurrency,
        link=connections.consume,
        outlet=outlet,
        troubles=troubles,
        take=desk.take,
        spawn=desk.spawn,
        hold=hold,
    )
    running = asyncio.get_running_loop().create_task(intake.run())
    try:
        yield Worker(connections, publisher, outlet, ears, desk, intake)
    finally:
        for task in (running, *desk.tasks):
            task.cancel()
        await asyncio.gather(running, *desk.tasks, return_exceptions=True)
        await connections.close()


RULES = TierRules(
    tier="standard",
    lane=Lane.INTERACTIVE,
    dedupe=Dedupe.OFF,
    default_deadline=timedelta(minutes=5),
    max_deadline=timedelta(hours=24),
)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)
