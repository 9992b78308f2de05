"""A small gateway as many write it: aio-pika, a pooled `httpx.AsyncClient`, a semaphore, a few retries; no more."""

import asyncio
import json
from typing import Any, Final

import aio_pika
import httpx
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.peers.asked import HEADERS, JOBS, REPLIES, TIMEOUT_S, Asked, asked

_TRIES: Final = 3
_WORTH_A_RETRY: Final = frozenset({429, 500, 502, 503, 504})


class Gateway:
    """Takes requests from a queue, calls, replies."""

    def __init__(
        self, wanted: Asked, client: httpx.AsyncClient, replies: aio_pika.abc.AbstractChannel
    ) -> None:
        self._upstream = wanted.upstream
        self._room = asyncio.Semaphore(wanted.in_flight)
        self._client = client
        self._replies = replies

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Answer one request, and acknowledge it when its reply is confirmed."""
        async with self._room, message.process(requeue=True):
            answer = await self._call(json.loads(message.body))
            await self._replies.default_exchange.publish(
                aio_pika.Message(
                    answer,
                    content_type="application/json",
                    correlation_id=message.correlation_id,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                REPLIES,
            )

    async def _call(self, body: dict[str, Any]) -> bytes:
        for tried in range(_TRIES):
            try:
                response = await self._client.post(self._upstream, json=body)
            except httpx.TransportError:
                if tried == _TRIES - 1:
                    raise
            else:
                if response.status_code not in _WORTH_A_RETRY or tried == _TRIES - 1:
                    return response.raise_for_status().content
            await asyncio.sleep(2**tried)
        raise AssertionError("the last try returns or raises")


async def main(wanted: Asked) -> None:
    """Consume until the process is told to end."""
    limits = httpx.Limits(
        max_connections=wanted.in_flight, max_keepalive_connections=wanted.in_flight
    )
    async with (
        httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, headers=HEADERS) as client,
        await aio_pika.connect_robust(wanted.url) as connection,
        connection.channel() as jobs,
        connection.channel(publisher_confirms=True) as replies,
    ):
        await jobs.set_qos(prefetch_count=wanted.in_flight)
        queue = await jobs.get_queue(JOBS)
        await queue.consume(Gateway(wanted, client, replies).take)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(asked()))
