"""Closes the calls of jobs that were cancelled, here or at another worker."""

import asyncio
from contextlib import suppress
from typing import Final

from worker.errors import StoreUnavailable
from worker.pipeline import Line

_CALL_OFF_S: Final = 0.25
_LONGEST_ASKED_S: Final = 0.75
_MORE_ASKS_S: Final = 0.1


async def call_off(line: Line, asked: asyncio.Event) -> None:
    """Close the calls of cancelled jobs: soon where this process was asked, else when it looks.

    Of many asks in a row all are noted first: what follows a closed call (its record, its replies) takes
    longer than closing it, and would hold up the others.
    """
    while True:
        if await _comes(asked, within_s=_CALL_OFF_S):
            latest = asyncio.get_running_loop().time() + _LONGEST_ASKED_S
            while await _comes(asked, within_s=_MORE_ASKS_S):
                if asyncio.get_running_loop().time() >= latest:
                    break
        if line.calls:
            with suppress(StoreUnavailable):  # the calls go on until it can be asked
                line.call_off(await line.ledger.called_off())


async def _comes(event: asyncio.Event, *, within_s: float) -> bool:
    """Tell whether an event comes in time, and wait for the next one from now on."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
