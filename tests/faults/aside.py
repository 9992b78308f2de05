"""Virtual hosts opened beside the event loop: the broker may take seconds, and others' heartbeats must go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeAlias

from tests.faults.vhost import Vhost

Opening: TypeAlias = Callable[[], AbstractContextManager[Vhost]]


@asynccontextmanager
async def opened(opening: Opening) -> AsyncIterator[Vhost]:
    """Open a virtual host, and close it, in a thread."""
    made = opening()
    vhost = await asyncio.to_thread(made.__enter__)
    try:
        yield vhost
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)
