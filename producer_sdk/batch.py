"""A batch: many requests, a bounded number of their jobs in flight, each result as it arrives."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from producer_sdk import clock
from producer_sdk.errors import (
    AccessRefused,
    BrokerUnavailable,
    InvalidSetting,
    PublishUnconfirmed,
    PublishUnsent,
    QueueFull,
    TopologyMissing,
    WarrenError,
)
from producer_sdk.flight import as_completed
from producer_sdk.job import Job
from producer_sdk.reply import Reply
from producer_sdk.request import Request
from producer_sdk.waiting import KEPT_REPLIES

PATIENCE: Final = timedelta(minutes=10)

# Beyond that a reply could be dropped before the one who waits for it has read it.
_MOST_IN_FLIGHT: Final = KEPT_REPLIES
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_PASSES: Final = (BrokerUnavailable, PublishUnconfirmed, PublishUnsent, QueueFull)
_STAYS: Final = (AccessRefused, TopologyMissing)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of one request of a batch.

    `index` counts the requests from 0 in the order in which they were taken; `request` is the one that was
    submitted, with its idempotency key.
    """

    index: int
    request: Request
    answer: Reply | WarrenError


async def run(
    requests: Iterable[Request] | AsyncIterable[Request],
    submit: Callable[[Request], Awaitable[Job]],
    *,
    in_flight: int,
    patience: timedelta,
) -> AsyncGenerator[BatchResult, None]:
    """Give the results of `Completions.batch`, which says what is promised."""
    if not 1 <= in_flight <= _MOST_IN_FLIGHT:
        raise InvalidSetting(f"in_flight: must be between 1 and {_MOST_IN_FLIGHT:,}")

    async def result(index: int, request: Request) -> BatchResult:
        once = _once(request)
        return BatchResult(index=index, request=once, answer=await _answer(once, submit, patience))

    async with aclosing(as_completed(requests, result, at_most=in_flight)) as results:
        async for each in results:
            yield each


def _once(request: Request) -> Request:
    """Give the request such that a second submission of it is the same job, until the same instant."""
    key = uuid.uuid4().hex if request.idempotency_key is None else request.idempotency_key
    deadline = request.deadline
    if isinstance(deadline, timedelta):
        with suppress(OverflowError):  # submitting it says what is wrong
            deadline = clock.now() + deadline
    return replace(request, idempotency_key=key, deadline=deadline)


async def _answer(
    request: Request, submit: Callable[[Request], Awaitable[Job]], patience: timedelta
) -> Reply | WarrenError:
    try:
        job = await _submitted(request, submit, patience)
        try:
            return await job.reply()
        finally:
            job.forget()
    except WarrenError as error:
        return error


async def _submitted(
    request: Request, submit: Callable[[Request], Awaitable[Job]], patience: timedelta
) -> Job:
    """Submit, again and again while the broker is away or full, until `patience` is spent.

    What was stored and not confirmed is then stored twice; the key makes that one job.
    """
    pause_s = _FIRST_PAUSE_S
    now_s = asyncio.get_running_loop().time
    give_up_s = now_s() + patience.total_seconds()
    while True:
        try:
            return await submit(request)
        except _STAYS:
            raise
        except _PASSES:
            if now_s() + pause_s >= give_up_s:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
