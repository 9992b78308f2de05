"""Which budgets a job's calls are paid from, and what becomes of a job that they leave no room for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from worker.core.kinds import Kind
from worker.core.model import Failed
from worker.core.spend import Account, Cap, Over, OverBudget, Per

EACH: Final = "*"
# What is only reserved comes back when a call ends that cost less than it might have.
_LOOK_AGAIN: Final = timedelta(seconds=10)
# An operator may raise a budget that is used up, or take it away, long before its period ends.
_LONGEST: Final = timedelta(hours=1)
# Jobs that a new period lets go come back one after the other.
_SPREAD: Final = timedelta(minutes=1)


class OnExceeded(StrEnum):
    """What a job does for which there is no money."""

    WAIT = "wait"
    REFUSE = "refuse"


class Unpriced(StrEnum):
    """What is done with a call whose cost cannot be estimated, because nobody knows its price."""

    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A rule about money. `tenant` "*": each tenant by itself; None: all together. `tier` None: all tiers."""

    name: str
    tenant: str | None
    tier: str | None
    per: Per
    usd: Decimal
    on_exceeded: OnExceeded = OnExceeded.WAIT
    unpriced: Unpriced = Unpriced.ALLOW

    def account(self, tenant: str) -> Account:
        """Give the account that a job of this tenant is paid from."""
        return Account(tenant=None if self.tenant is None else tenant, tier=self.tier)

    def cap(self, tenant: str) -> Cap:
        """Give what a job of this tenant is held to."""
        return Cap(account=self.account(tenant), per=self.per, usd=self.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The job waits for so long, and then looks again.

    `why` is for its history: which budget is used up. None where only reservations are in the way, every few seconds.
    """

    wait: timedelta
    why: Failed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The job ends without a call."""

    failed: Failed


NoMoney: TypeAlias = Wait | Refuse


def budgets_of(budgets: Sequence[Budget], tenant: str, tier: str) -> tuple[Budget, ...]:
    """Give the budgets that a job is paid from: it has to fit into all of them.

    A tenant's own budget takes the place of the one of "*" for the same tier and period.
    """
    found = [
        each
        for each in budgets
        if each.tenant in {None, EACH, tenant} and each.tier in {None, tier}
    ]
    own = {(each.tier, each.per) for each in found if each.tenant == tenant}
    return tuple(each for each in found if each.tenant != EACH or (each.tier, each.per) not in own)


def unpriced(budgets: Sequence[Budget]) -> Refuse | None:
    """Tell what becomes of a job whose call's cost cannot be estimated; None: it may be made."""
    for each in budgets:
        if each.unpriced is Unpriced.REFUSE:
            detail = f"budgets.{each.name} takes no calls whose price is not known"
            return Refuse(failed=Failed(kind=Kind.BUDGET_EXCEEDED, detail=detail))
    return None


def no_money(
    budgets: Sequence[Budget],
    full: OverBudget,
    *,
    tenant: str,
    now: datetime,
    deadline: datetime,
    chance: float,
) -> NoMoney:
    """Tell what becomes of a job whose budgets leave no room.

    It is refused where one that refuses is used up by what is spent, and where a call costs more than a whole budget:
    no period has room for that. Else it waits until the last of the periods ends, or its deadline, and looks again every
    hour; only a moment where money that is reserved may come back, since most calls cost far less than they might.
    `chance` is in [0, 1).
    """
    by_account = {(each.account(tenant), each.per): each for each in budgets}
    waits = list[timedelta]()
    why: Failed | None = None
    for over in full.over:
        budget = by_account[over.account, over.per]
        refuses = budget.on_exceeded is OnExceeded.REFUSE and over.spent
        if over.until is None or refuses:
            return Refuse(failed=Failed(kind=Kind.BUDGET_EXCEEDED, detail=_detail(budget, over)))
        if over.spent:
            why = Failed(kind=Kind.BUDGET_EXCEEDED, detail=_detail(budget, over))
        wait = min(over.until - now, _LONGEST) if over.spent else _LOOK_AGAIN
        waits.append(wait + _SPREAD * chance)
    return Wait(wait=max(min(max(waits), deadline - now), timedelta()), why=why)


def _detail(budget: Budget, over: Over) -> str:
    limit = f"budgets.{budget.name} ({over.account}, {budget.usd:f} US dollars a {budget.per})"
    if over.until is None:
        return f"one call may cost more than the whole of {limit}"
    return f"{limit} is used up until {over.until:%Y-%m-%d %H:%M} UTC"
