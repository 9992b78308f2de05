"""The floor: aiormq, one POST by pyqwest, a confirmed reply, an acknowledgement; with no feature at all.

`benchmarks.peers.echo` is the same without the call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiormq
import pyqwest
import uvloop
from aiormq.abc import DeliveredMessage

from benchmarks.peers.asked import HEADERS, JOBS, REPLIES, Asked, asked

_OK: Final = 200

Call = Callable[[bytes], Awaitable[bytes]]


async def serve(wanted: Asked, call: Call) -> None:
    """Consume until the process is told to end."""
    connection = await aiormq.connect(wanted.url)
    jobs, replies = await connection.channel(), await connection.channel(publisher_confirms=True)
    await jobs.basic_qos(prefetch_count=wanted.in_flight)

    async def take(message: DeliveredMessage) -> None:
        await replies.basic_publish(
            await call(message.body),
            routing_key=REPLIES,
            properties=aiormq.spec.Basic.Properties(
                content_type="application/json",
                correlation_id=message.header.properties.correlation_id,
                delivery_mode=2,
            ),
        )
        if message.delivery_tag is not None:
            await jobs.basic_ack(message.delivery_tag, wait=False)

    await jobs.basic_consume(JOBS, take)
    await asyncio.Event().wait()


async def main(wanted: Asked) -> None:
    """Serve, calling the upstream."""
    pool = pyqwest.HTTPTransport(
        http_version=pyqwest.HTTPVersion.HTTP1,
        pool_max_idle_per_host=wanted.in_flight,
        follow_redirects=False,
        enable_otel=False,
    )
    client = pyqwest.Client(pool)

    async def call(body: bytes) -> bytes:
        response = await client.post(wanted.upstream, HEADERS, body)
        if response.status != _OK:
            raise RuntimeError(f"the upstream answered {response.status}")
        return bytes(response.content)

    await serve(wanted, call)


if __name__ == "__main__":
    uvloop.run(main(asked()))
