"""What the two FastStream contestants share: a subscriber that calls, replies confirmed, and is acknowledged last."""

from collections.abc import Awaitable, Callable
from typing import Any

from faststream import AckPolicy, Context, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks.peers.asked import JOBS, REPLIES, Asked

Call = Callable[[dict[str, Any]], Awaitable[bytes]]


async def serve(wanted: Asked, call: Call) -> None:
    """Consume until the process is told to end."""
    broker = RabbitBroker(
        wanted.url, default_channel=Channel(prefetch_count=wanted.in_flight), logger=None
    )

    @broker.subscriber(RabbitQueue(JOBS, declare=False), ack_policy=AckPolicy.NACK_ON_ERROR)
    async def complete(
        body: dict[str, Any], number: str = Context("message.correlation_id")
    ) -> None:  # how FastStream asks for it
        answer = await call(body)
        await broker.publish(
            answer,
            REPLIES,
            correlation_id=number,
            content_type="application/json",
            persist=True,
        )

    await FastStream(broker, logger=None).run()
