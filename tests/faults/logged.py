"""Waiting for what a worker writes into its log."""

import asyncio
from typing import Final

from tests.faults.stage import WorkerProcess

_LOOK_S: Final = 0.05


async def logged(worker: WorkerProcess, *texts: str, times: int = 1, within_s: float = 120) -> None:
    """Wait until one of the texts stands so many times in a worker's log."""
    async with asyncio.timeout(within_s):
        while not any(worker.log.read_text().count(text) >= times for text in texts):  # noqa: ASYNC110  # only the file tells
            await asyncio.sleep(_LOOK_S)
