"""A bounded number of tasks at a time, their results in order or as they come."""

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


async def as_completed(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[int, Item], Coroutine[None, None, Result]],
    *,
    at_most: int,
) -> AsyncGenerator[Result, None]:
    """Do `work` for each item and its index, `at_most` at a time; give each result as soon as it is there.

    Waiting for the next item delays no result. No more is started than results are taken. Closing it cancels
    what is in flight and waits for its end; work or items that raise do the same.
    """
    room = asyncio.Semaphore(at_most)
    running: set[asyncio.Task[Result]] = set()
    ended: asyncio.Queue[asyncio.Task[Result] | None] = asyncio.Queue()

    async def feed() -> None:
        index = 0
        async with aclosing(_each(items)) as each:
            await room.acquire()
            async for item in each:
                task = asyncio.create_task(work(index, item))
                running.add(task)
                task.add_done_callback(ended.put_nowait)
                index += 1
                await room.acquire()

    feeding = asyncio.create_task(feed())
    feeding.add_done_callback(lambda _: ended.put_nowait(None))
    fed = False
    try:
        while running or not fed:
            task = await ended.get()
            if task is None:
                feeding.result()
                fed = True
                continue
            yield task.result()
            running.discard(task)
            room.release()
    finally:
        left = (feeding, *running)
        for each_left in left:
            each_left.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
