"""An asynchronous generator in the loop's thread as a plain generator in the caller's."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from producer_sdk.completions import Completions
from producer_sdk.errors import ClientClosed
from producer_sdk.sync.session import Session

Item = TypeVar("Item")

_END: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Yielded(Generic[Item]):
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The loop wants the next element of an iterable that the caller lent."""

    source: Iterator[Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    error: BaseException | None


class Relay(Generic[Item]):
    """Hands items over one at a time: the generator stands still until the next one is asked for.

    Iterables that the caller lent to it are read in the caller's thread, while it waits for an item: they may
    block, query a database, or use the client themselves.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._news: SimpleQueue[_Yielded[Item] | _Wanted | _Ended] = SimpleQueue()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def lend(self, argument: Any) -> Any:  # noqa: ANN401 - any argument of any method
        """Give an argument as the loop may have it: whatever iterating would run code of the caller is wrapped."""
        plain = (AsyncIterable, Mapping, str, bytes, list, tuple, set, frozenset)
        if isinstance(argument, plain) or not isinstance(argument, Iterable):
            return argument
        return self._lent(iter(argument))

    def items(
        self, make: Callable[[Completions], AsyncIterator[Item]]
    ) -> Generator[Item, None, None]:
        """Give what the generator yields. Closing it early closes the generator, and waits for that."""

        async def begin(client: Completions) -> None:
            self._task = asyncio.create_task(self._pump(make(client)))
            self._task.add_done_callback(self._tell_end)

        self._session.call(begin)
        try:
            while True:
                self._session.background.check_process()
                match self._news.get():
                    case _Wanted() as wanted:
                        self._fetch(wanted)
                    case _Yielded(item=item):
                        yield item
                        self._session.background.post(self._asked.set)
                    case _Ended(error=BaseException() as error):
                        raise error
                    case _Ended():
                        return
        finally:
            self._halt()

    async def _pump(self, items: AsyncIterator[Item]) -> None:
        try:
            async for item in items:
                self._asked.clear()
                self._news.put(_Yielded(item=item))
                await self._asked.wait()
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._news.put(_Ended(error=ClientClosed("the client was closed during this call")))
        else:
            self._news.put(_Ended(error=task.exception()))

    def _halt(self) -> None:
        """End the generator, if it has not ended; a collector that runs in the loop's thread only asks for it."""
        task, background = self._task, self._session.background
        if task is None or task.done():
            return
        if background.is_here:
            task.cancel()
            return

        async def halt() -> None:
            task.cancel()
            await asyncio.wait({task})

        with suppress(ClientClosed):  # then it has ended with all the rest
            background.call(halt)

    async def _lent(self, source: Iterator[Any]) -> AsyncGenerator[Any, None]:
        while True:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._news.put(_Wanted(source=source, answer=answer))
            element = await answer
            if element is _END:
                return
            yield element

    def _fetch(self, wanted: _Wanted) -> None:
        try:
            element = next(wanted.source, _END)
        except Exception as error:  # noqa: BLE001 - it is the generator's, as if it had read its source itself
            self._session.background.post(_answer, wanted.answer.set_exception, error)
        else:
            self._session.background.post(_answer, wanted.answer.set_result, element)


def _answer(give: Callable[[Any], None], what: object) -> None:
    with suppress(asyncio.InvalidStateError):  # nobody waits for it any more
        give(what)
