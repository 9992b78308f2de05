"""The settings about spending: how much money tenants and tiers may use in a day or a month. See `schema`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from worker.core.budgets import OnExceeded, Unpriced
from worker.core.spend import Per
from worker.settings.finding import Finding
from worker.settings.prices import parse_amount
from worker.settings.values import one_of

_LONGEST_TENANT = 255


def _tenant(value: str | None) -> str | None:
    if value is not None and not (value.isprintable() and 0 < len(value) <= _LONGEST_TENANT):
        raise ValueError(f'must be a broker user of 1 to {_LONGEST_TENANT} characters, or "*"')
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """One budget. A job has to fit into all budgets that its tenant and its tier have."""

    name: str
    per: Annotated[
        Per, one_of(Per), "What the money is for: a `day` or a `month`, both those of UTC"
    ]
    usd: Annotated[
        Decimal,
        BeforeValidator(parse_amount),
        'The most that is spent in it, in US dollars: "25.00"',
    ]
    tenant: Annotated[
        str | None,
        AfterValidator(_tenant),
        "Whose money: a tenant's, or `\"*\"`, each tenant's that has none of its own; none: all tenants together",
    ] = None
    tier: Annotated[str | None, "In which tier; none: in all together"] = None
    on_exceeded: Annotated[
        OnExceeded,
        one_of(OnExceeded),
        "A job without money: `wait` until the period or its deadline ends, or `refuse` it",
    ] = OnExceeded.WAIT
    unpriced: Annotated[
        Unpriced,
        one_of(Unpriced),
        "A call whose price nobody knows: `allow` it, uncounted, or `refuse` it",
    ] = Unpriced.ALLOW


def check(budgets: Mapping[str, BudgetSettings], tiers: frozenset[str]) -> Iterator[Finding]:
    """Give every rule about budgets that does not hold."""
    first: dict[tuple[str | None, str | None, Per], str] = {}
    for name, budget in budgets.items():
        path = f"budgets.{name}"
        if budget.tier is not None and budget.tier not in tiers:
            text = f'{path}.tier: there is no tier "{budget.tier}"; add [tiers.{budget.tier}]'
            yield Finding(about=(f"{path}.tier",), text=text)
        same = first.setdefault((budget.tenant, budget.tier, budget.per), name)
        if same != name:
            yield Finding(
                about=tuple(f"{path}.{key}" for key in ("tenant", "tier", "per")),
                text=f"{path} is for the same tenant, tier and {budget.per} as budgets.{same}: keep one",
            )
