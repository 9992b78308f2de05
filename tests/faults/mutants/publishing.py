"""Bugs in publishing."""

import asyncio
from contextlib import suppress

from producer_sdk.wire import Envelope
from tests.faults.mutants.plant import plant
from worker.broker.publisher import Confirmed, Published, Publisher, Tell, _Once
from worker.core.events import Step


def publishes_without_a_confirm() -> None:
    """What is written counts as sent: what the broker says to it is not heard."""
    sent: set[asyncio.Task[None]] = set()

    async def publish(
        self: Publisher,
        exchange: str,
        routing_key: str,
        envelope: Envelope,
        body: bytes,
        *,
        reached: Tell | None = None,
        **_: object,
    ) -> Published:
        async def once() -> None:
            with suppress(Exception):
                await self._publish_once(
                    exchange,
                    routing_key,
                    envelope,
                    body,
                    timeout_s=10,
                    published=None if reached is None else _Once(reached),
                )

        task = asyncio.create_task(once())
        sent.add(task)
        task.add_done_callback(sent.discard)
        if reached is not None:
            reached(Step.CONFIRMED)
        return Confirmed()

    plant(Publisher, "publish", publish)
