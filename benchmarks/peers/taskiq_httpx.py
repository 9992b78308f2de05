"""taskiq on uvloop over aio-pika, its receiver in this process, acknowledged when the task has ended.

taskiq has no results over AMQP, so the task publishes its reply itself, on a channel with confirms.
"""

from typing import Any

import aio_pika
import httpx
import uvloop
from taskiq.acks import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq_aio_pika import AioPikaBroker, Queue

from benchmarks.peers.asked import HEADERS, JOBS, REPLIES, TASK, TIMEOUT_S, Asked, asked


async def main(wanted: Asked) -> None:
    """Receive tasks until the process is told to end."""
    broker = AioPikaBroker(wanted.url, qos=wanted.in_flight).with_queues(
        Queue(name=JOBS, declare=False)
    )
    limits = httpx.Limits(
        max_connections=wanted.in_flight, max_keepalive_connections=wanted.in_flight
    )
    async with (
        httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, headers=HEADERS) as client,
        await aio_pika.connect_robust(wanted.url) as connection,
        connection.channel(publisher_confirms=True) as replies,
    ):

        @broker.task(task_name=TASK)
        async def complete(number: str, body: dict[str, Any]) -> None:
            response = await client.post(wanted.upstream, json=body)
            await replies.default_exchange.publish(
                aio_pika.Message(
                    response.raise_for_status().content,
                    content_type="application/json",
                    correlation_id=number,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                REPLIES,
            )

        broker.is_worker_process = True
        await broker.startup()
        await run_receiver_task(
            broker,
            max_async_tasks=wanted.in_flight,
            ack_time=AcknowledgeType.WHEN_EXECUTED,
        )


if __name__ == "__main__":
    uvloop.run(main(asked()))
