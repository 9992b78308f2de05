"""The calls that this process makes now: who holds each, for whose message, and the word to close it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from worker.core.model import Job


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call of this process: the task that holds it, and the job as the message that it carries shows it."""

    task: asyncio.Task[Any]
    job: Job
    called_off: asyncio.Future[None]


class OwnCalls:
    """By job id. A call stays here until its delivery is settled, so that a redelivery joins the whole of it."""

    def __init__(self) -> None:
        self._calls: dict[str, OwnCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, job: Job) -> OwnCall:
        """Note that the current task calls for the job."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        called_off: asyncio.Future[None] = loop.create_future()
        call = self._calls[job.id] = OwnCall(task, job, called_off)
        return call

    def end(self, job: Job) -> None:
        """Forget the job's call, if it was begun with this very value: another delivery of the job has one of its own."""
        call = self._calls.get(job.id)
        if call is not None and call.job is job:
            del self._calls[job.id]

    def get(self, job: Job) -> OwnCall | None:
        """Give the job's call; None: this process makes none."""
        return self._calls.get(job.id)

    def call_off(self, job_ids: Collection[str]) -> None:
        """Close the calls of these jobs, as far as they are made here."""
        for job_id in job_ids:
            call = self._calls.get(job_id)
            if call is not None and not call.called_off.done():
                call.called_off.set_result(None)
