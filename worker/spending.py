"""The money of a job's calls: reserved before each of them, settled by what they cost.

Nothing here is lost when the process dies or a task is cancelled: what was reserved then stays counted.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache, partial
from itertools import count
from typing import Final

from worker.core.bill import Spent
from worker.core.budgets import Budget, NoMoney, budgets_of, no_money, unpriced
from worker.core.model import Job, Work
from worker.core.money import plus, times
from worker.core.spend import Cap, OverBudget, Reserved
from worker.core.terms import Reservation
from worker.errors import StoreUnavailable
from worker.ports import Clock, Spend

_NOTHING: Final = Decimal(0)
_NAME_BYTES: Final = 9
# Tenants come from messages: whoever has many of them gets no more room.
_MOST_KEPT: Final = 1024
# How long a worker that stops waits for what it has to settle; what is left stays counted as reserved.
_LAST_S: Final = 5.0


@dataclass(slots=True, kw_only=True)
class Purse:
    """What is reserved for one attempt. `estimate` is the most that one of its calls costs; None: not known.

    A call of unknown cost counts as that, or as nothing. `reckoned` is reserved where it is more.
    `name` gives names of reservations, which nobody else gives.
    """

    estimate: Decimal | None
    caps: Sequence[Cap]
    spend: Spend
    reckoned: Decimal = _NOTHING
    held: list[Reserved] = field(default_factory=list)
    name: Callable[[], str]

    async def more(self) -> bool:
        """Reserve for one more call; False: there is no money for it, or the store does not answer."""
        try:
            return await self.open() is None
        except StoreUnavailable:
            return False

    def due(self) -> Reservation | None:
        """Give what is to be reserved for a call, to be `held` once it is or may be; None: nothing."""
        if not self.caps:
            return None
        amount = max(self.estimate or _NOTHING, self.reckoned)
        return Reservation(name=self.name(), caps=self.caps, amount=amount)

    def hold(self, due: Reservation | None) -> None:
        """Take note that it is reserved, or may be. Behind all others: what was spent goes to one that surely is."""
        if due is not None:
            self.held.append(due.reserved)

    async def open(self) -> OverBudget | None:
        """Reserve for a call; None: it is reserved.

        Raises:
            StoreUnavailable: nobody can tell now; settling gives back what was reserved all the same.
        """
        due = self.due()
        if due is None:
            return None
        try:
            found = await self.spend.reserve(due.name, due.caps, due.amount)
        except (StoreUnavailable, asyncio.CancelledError):
            self.hold(due)  # it may have been counted all the same
            raise
        if isinstance(found, OverBudget):
            return found
        self.hold(due)
        return None

    def spent(self, work: Work) -> Spent:
        """Give what the attempt's calls cost, to be settled; one whose cost is not known counts as its estimate.

        After that nothing is held. Not for an attempt that was cancelled: what it cost is not known, and stays reserved.
        """
        if not self.held:
            return ()
        total = work.spent
        if work.unpriced:
            total = plus(total, times(work.unpriced, self.estimate or _NOTHING))
        return self._emptied(total)

    def unspent(self) -> Spent:
        """Give all back, to be settled: no call was made."""
        return self._emptied(_NOTHING)

    def _emptied(self, total: Decimal) -> Spent:
        # The sum first: if the process dies in between, too much is counted and never too little.
        held, self.held = self.held, []
        return tuple((each, _NOTHING if at else total) for at, each in enumerate(held))


class Spending:
    """Holds jobs to their budgets. `estimate` gives the most that a job's call costs, None where a price is missing.

    `reckon` is asked then: as what a call of unknown cost counts, and the most that a call costs by the prices that are
    there, each None where there is none. Else whoever has a call that may be answered without a price, by a model to fall
    back to or a service tier, would go past a budget that is used up.
    `chance` gives numbers in [0, 1). What is settled here, because no record does so, is settled in tasks of its own.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        *,
        spend: Spend,
        estimate: Callable[[Job], Decimal | None],
        clock: Clock,
        chance: Callable[[], float],
        reckon: Callable[[Job], tuple[Decimal | None, Decimal | None]] = lambda _: (None, None),
    ) -> None:
        self._reckon = reckon
        self._held_to = lru_cache(maxsize=_MOST_KEPT)(partial(_held_to, tuple(budgets)))
        self._spend = spend
        self._estimate = estimate
        self._clock = clock
        self._chance = chance
        self._settling: set[asyncio.Task[None]] = set()
        # The process's own part of a reservation's name is drawn once: randomness for each job would be a system call.
        self._process = secrets.token_hex(_NAME_BYTES)
        self._numbers = count(1)

    def settle(self, spent: Spent) -> None:
        """Let what was spent be counted soon: no record does so, or nobody knows whether one did."""
        if spent:
            task = asyncio.get_running_loop().create_task(self._settled(spent))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    def give_back(self, purse: Purse) -> None:
        """Let all go back soon: no call was made."""
        self.settle(purse.unspent())

    async def aclose(self) -> None:
        """Wait a while for what is to be settled; the rest stays reserved."""
        if self._settling:
            _, late = await asyncio.wait(self._settling, timeout=_LAST_S)
            for task in late:
                task.cancel()
                with suppress(asyncio.CancelledError, StoreUnavailable):
                    await task

    def free(self) -> Purse:
        """Give the purse of a job that no budget holds."""
        return Purse(estimate=None, caps=(), spend=self._spend, name=self._name)

    def _name(self) -> str:
        return f"{self._process}.{next(self._numbers)}"

    async def _settled(self, spent: Spent) -> None:
        for reserved, usd in spent:
            await self._spend.settle(reserved, usd)

    def holds(self, job: Job) -> bool:
        """Tell whether the job has a budget: then it is never called for while the store does not answer."""
        return bool(self._held_to(job.tenant, job.tier)[0])

    def purse(self, job: Job) -> Purse | NoMoney:
        """Give the purse of a job that is to begin, or tell what becomes of it where its cost cannot be estimated.

        What is `due` for its first call is reserved when it begins.
        """
        budgets, caps = self._held_to(job.tenant, job.tier)
        if not budgets:
            return self.free()
        estimate, reckoned = self._estimate(job), _NOTHING
        if estimate is None:
            if (refused := unpriced(budgets)) is not None:
                return refused
            estimate, known = self._reckon(job)
            reckoned = known or _NOTHING
        return Purse(
            estimate=estimate, caps=caps, spend=self._spend, reckoned=reckoned, name=self._name
        )

    def no_money(self, job: Job, full: OverBudget) -> NoMoney:
        """Tell what becomes of a job whose budgets leave no room."""
        return no_money(
            self._held_to(job.tenant, job.tier)[0],
            full,
            tenant=job.tenant,
            now=self._clock.now(),
            deadline=job.deadline,
            chance=self._chance(),
        )


def _held_to(
    budgets: Sequence[Budget], tenant: str, tier: str
) -> tuple[tuple[Budget, ...], tuple[Cap, ...]]:
    """Give the budgets that a job is paid from, and what each of them holds it to."""
    found = budgets_of(budgets, tenant, tier)
    return found, tuple(each.cap(tenant) for each in found)


class _Unasked:
    """The `Spend` and the `Clock` of a worker without budgets: nobody asks them."""

    def now(self) -> datetime:
        return datetime.min.replace(tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def reserve(
        self, reservation: str, caps: Sequence[Cap], amount: Decimal
    ) -> Reserved | OverBudget:
        del caps
        return Reserved(name=reservation, amount=amount)

    async def settle(self, reserved: Reserved, amount: Decimal | None) -> None:
        del reserved, amount


def unbudgeted() -> Spending:
    """Give what holds no job to anything."""
    nobody = _Unasked()
    return Spending((), spend=nobody, estimate=lambda _: None, clock=nobody, chance=lambda: 0.0)
