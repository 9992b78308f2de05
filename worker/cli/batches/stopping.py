"""A run that ends at a signal, in order."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Stopped(Exception):  # noqa: N818  # it is no error
    """A signal ended the block.

    Attributes:
        signal: which.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


@asynccontextmanager
async def stopping() -> AsyncIterator[None]:
    """Cancel the block at the first SIGINT or SIGTERM, and raise `Stopped`; a second one ends the process."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # this runs in one
    heard: list[signal.Signals] = []
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: signal.Signals) -> None:
        heard.append(number)
        for each in numbers:
            loop.remove_signal_handler(each)
        task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not heard:
            raise
        task.uncancel()
        raise Stopped(heard[0]) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
