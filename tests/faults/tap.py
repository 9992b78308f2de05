"""What a tenant's callback queues were sent: every reply once more, in a queue that only the audit reads."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractQueue

from producer_sdk.wire import REPLIES_EXCHANGE, reply_queue
from tests.faults.vhost import Vhost


class Tap:
    """A queue that hears all replies of a tenant beside whom they are for. `drain` gives what came so far."""

    def __init__(self, tenant: str, queue: AbstractQueue) -> None:
        self._tenant = tenant
        self._queue = queue

    async def drain(self) -> list[dict[str, Any]]:
        """Take out every reply that lies there, as lines of the producer's journal."""
        lines = []
        while (message := await self._queue.get(fail=False)) is not None:
            lines.append(
                {
                    "event": "reply",
                    "tenant": self._tenant,
                    "submission": message.correlation_id,
                    "job": message.headers["x-warren-job"],
                    "run": message.headers["x-warren-run"],
                    "completed": message.headers["x-warren-status"] == "completed",
                    "sha256": hashlib.sha256(message.body).hexdigest(),
                }
            )
            await message.ack()
        return lines


@asynccontextmanager
async def tapped(vhost: Vhost, tenant: str = "producer") -> AsyncIterator[Tap]:
    """Hear the replies of all of a tenant's clients from now on."""
    connection = await aio_pika.connect(vhost.url(tenant))
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            reply_queue(tenant, "tap"), durable=True, arguments={"x-queue-type": "classic"}
        )
        await queue.bind(REPLIES_EXCHANGE, f"{tenant}.#")
        yield Tap(tenant, queue)
