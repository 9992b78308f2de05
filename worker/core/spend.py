"""Budgets: whose money, how much of it in a day or a month, and what a call that does not fit has to do.

An amount is reserved before the call and settled after it. Both count in pots: one for each account and period. A pot
is full by what was spent and what is reserved together, so calls that run at the same time cannot overspend it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from worker.core.money import dollars, whole

# How long the books of a period are kept after its end.
KEPT: Final = timedelta(days=100)
_DECEMBER: Final = 12


class Per(StrEnum):
    """What a budget is for; days and months are those of UTC."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose money it is: a tenant's, in a tier, both together, or with neither everybody's."""

    tenant: str | None = None
    tier: str | None = None

    def __str__(self) -> str:
        named = [("tenant", self.tenant), ("tier", self.tier)]
        return ", ".join(f"{what} {name}" for what, name in named if name is not None) or "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The most that an account may spend in each period, in US dollars."""

    account: Account
    per: Per
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Pot:
    """An account's money of one period, from `starts` on and before `ends`."""

    account: Account
    per: Per
    starts: datetime
    ends: datetime

    @property
    def key(self) -> str:
        """The pot's name in the stores; `read` reads it. A tier's name has no colon."""
        account = self.account
        return f"{self.per}:{self.starts:%Y-%m-%d}:{account.tier or ''}:{account.tenant or ''}"

    @classmethod
    def of(cls, account: Account, per: Per, now: datetime) -> Self:
        """Give the account's pot of the period that the aware instant `now` lies in."""
        starts, ends = period(per, now)
        return cls(account=account, per=per, starts=starts, ends=ends)

    @classmethod
    def read(cls, key: str) -> Self:
        """Give the pot of this name."""
        per, starts, tier, tenant = key.split(":", 3)
        account = Account(tenant=tenant or None, tier=tier or None)
        return cls.of(account, Per(per), datetime.fromisoformat(starts).replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """An amount that counts as spent until it is settled. `name` is the reservation's."""

    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A cap that leaves no room for an amount.

    `until` is its period's end; None: the amount is above the whole cap. `spent`: what is spent leaves none; else only
    what is reserved takes the room, and some of that may come back soon.
    """

    account: Account
    per: Per
    until: datetime | None
    spent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """Nothing was reserved: these caps leave no room."""

    over: tuple[Over, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What stands in a pot, in US dollars. `reserved` was not settled: its call runs, or its process died."""

    pot: Pot
    spent: Decimal
    reserved: Decimal


def period(per: Per, now: datetime) -> tuple[datetime, datetime]:
    """Give the start of the period that an aware instant lies in, and the start of the next one; both in UTC."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per is Per.DAY:
        return midnight, midnight + timedelta(days=1)
    first = midnight.replace(day=1)
    if first.month == _DECEMBER:
        return first, first.replace(year=first.year + 1, month=1)
    return first, first.replace(month=first.month + 1)


def kept_from(per: Per, now: datetime) -> str:
    """Give the name that no kept pot of this kind of period is before, at the aware instant `now`."""
    return f"{per}:{period(per, now - KEPT)[0]:%Y-%m-%d}:"


def over(
    caps: Sequence[Cap], taken: Sequence[tuple[int, int]], amount: Decimal, now: datetime
) -> OverBudget | None:
    """Tell which caps leave no room for the amount; None: all do.

    `taken` is what is spent and what is reserved in each cap's pot, in units of `money.whole`. An amount of zero
    always has room: what costs nothing goes on when the money is spent.
    """
    wanted = whole(amount)
    if not wanted:
        return None
    full = [
        Over(
            account=cap.account,
            per=cap.per,
            until=None if amount > cap.usd else period(cap.per, now)[1],
            spent=spent + wanted > whole(cap.usd),
        )
        for cap, (spent, reserved) in zip(caps, taken, strict=True)
        if spent + reserved + wanted > whole(cap.usd)
    ]
    return OverBudget(over=tuple(full)) if full else None


def counted(key: str, spent: int, reserved: int) -> Counted:
    """Give what stands in the pot of this name, of units of `money.whole`."""
    return Counted(pot=Pot.read(key), spent=dollars(spent), reserved=dollars(reserved))


def left(cap: Cap, standing: Counted | None) -> Decimal:
    """Give what a cap leaves of its pot, in US dollars: never less than zero; None stands for an untouched pot."""
    taken = 0 if standing is None else whole(standing.spent) + whole(standing.reserved)
    return dollars(max(whole(cap.usd) - taken, 0))
