"""A bounded number of tasks at a time, their results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[Item], Coroutine[None, None, Result]],
    *,
    at_most: int,
) -> AsyncGenerator[Result, None]:
    """Do `work` for each item, `at_most` at a time; give the results in the items' order.

    No more is started than results are taken. Closing it cancels what is in flight and waits for its end; work
    that raises does the same.
    """
    window: deque[asyncio.Task[Result]] = deque()
    try:
        async with aclosing(_each(items)) as each:
            async for item in each:
                window.append(asyncio.create_task(work(item)))
                if len(window) == at_most:
                    yield await window[0]
                    window.popleft()
        while window:
            yield await window[0]
            window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
