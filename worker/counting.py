"""Begins jobs on terms over a ledger that cannot count them itself: permits, money and the claim one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

from worker.core.limits import Full, Taken
from worker.core.model import Beginning, Started
from worker.core.spend import OverBudget, Reserved
from worker.core.terms import Reservation, Terms
from worker.errors import StoreUnavailable
from worker.ports import Limits, Spend

_NOTHING: Final = Decimal(0)
# How long a worker that stops waits for what goes back; what is left stays counted.
_LAST_S: Final = 5.0


class OneByOne:
    """What was counted goes back where a later one says no, in tasks of its own: nobody waits for it.

    `spend` waits until its store is back; `limits` may let go of what it does not take.
    """

    def __init__(self, *, limits: Limits, spend: Spend) -> None:
        self._limits = limits
        self._spend = spend
        self._going_back: set[asyncio.Task[None]] = set()

    async def begin(self, terms: Terms, begin: Callable[[], Awaitable[Beginning]]) -> Beginning:
        """Count the terms and begin; see `Ledger.begin`."""
        taken = await self._limits.take(terms.charges) if terms.charges else Taken()
        if isinstance(taken, Full):
            return taken
        begun: Beginning | None = None
        try:
            begun = await self._begin(terms.reservation, begin)
        finally:
            if not isinstance(begun, Started) and taken.charges:
                self._soon(self._limits.settle(taken, [0] * len(taken.charges)))
        if isinstance(begun, Started):
            return Started(attempt=begun.attempt, tally=begun.tally, taken=taken)
        return begun

    async def aclose(self) -> None:
        """Wait a while for what goes back."""
        if self._going_back:
            _, late = await asyncio.wait(self._going_back, timeout=_LAST_S)
            for task in late:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _begin(
        self, reservation: Reservation | None, begin: Callable[[], Awaitable[Beginning]]
    ) -> Beginning:
        if reservation is None:
            return await begin()
        reserved = await self._spend.reserve(reservation.name, reservation.caps, reservation.amount)
        if isinstance(reserved, OverBudget):
            return reserved
        begun = await begin()
        if not isinstance(begun, Started):
            self._soon(self._give_back(reserved))
        return begun

    async def _give_back(self, reserved: Reserved) -> None:
        await self._spend.settle(reserved, _NOTHING)

    def _soon(self, going_back: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_or_let_go(going_back))
        self._going_back.add(task)
        task.add_done_callback(self._going_back.discard)


async def _or_let_go(going_back: Coroutine[Any, Any, None]) -> None:
    with suppress(StoreUnavailable):  # it stays counted
        await going_back
