"""Synchronous methods made of asynchronous ones: the same parameters, the same types, one line each.

    complete = waits(AsyncCompletions.complete)

A type checker sees the parameters through a `ParamSpec`, a person through `inspect.signature`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from producer_sdk.completions import Completions
from producer_sdk.sync.relay import Relay
from producer_sdk.sync.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class Front(ABC):
    """Stands, for any thread, for an object that lives in a session's loop."""

    __slots__ = ()

    @abstractmethod
    def _reach(self) -> tuple[Session, Callable[[Completions], Any]]:
        """Give the session of this process, and how to get at the object once its client is open."""


def waits(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """Make a method that waits for what the asynchronous one gives."""

    @wraps(method)
    def wait(self: Front, /, *args: P.args, **kwargs: P.kwargs) -> R:
        session, target = self._reach()
        return session.call(lambda client: method(target(client), *args, **kwargs))

    return wait


def runs(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Make a method that does in the loop what a plain method of its object does, which is not thread-safe."""

    @wraps(method)
    def run(self: Front, /, *args: P.args, **kwargs: P.kwargs) -> R:
        session, target = self._reach()

        async def do(client: Completions) -> R:
            return method(target(client), *args, **kwargs)

        return session.call(do)

    return run


def iterates(
    method: Callable[Concatenate[Any, P], AsyncIterator[R]],
) -> Callable[Concatenate[Any, P], Generator[R, None, None]]:
    """Make a plain generator of an asynchronous one; `contextlib.closing` ends it early."""
    lent: Callable[..., AsyncIterator[R]] = method

    @wraps(method)
    def iterate(self: Front, /, *args: P.args, **kwargs: P.kwargs) -> Generator[R, None, None]:
        session, target = self._reach()
        relay: Relay[R] = Relay(session)
        arguments = [relay.lend(argument) for argument in args]
        named = {name: relay.lend(argument) for name, argument in kwargs.items()}
        return relay.items(lambda client: lent(target(client), *arguments, **named))

    return iterate


def like(
    model: Callable[P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give an `__init__` that takes anything the parameters of `model`."""

    def wear(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        return wraps(model.__init__)(init)

    return wear
