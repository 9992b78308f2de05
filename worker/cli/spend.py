"""`warren spend`: what is spent of the budgets, and what the ledger knows of who spent it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import click

from worker.cli.configured import archive_of, config_option, settings_of
from worker.cli.output import as_json, show, told
from worker.cli.seconds import seconds
from worker.clock import SystemClock
from worker.core.budgets import EACH, Budget, budgets_of
from worker.core.letters import Explanation
from worker.core.money import plus
from worker.core.spend import Account, Counted, Pot, left
from worker.parts import budgets
from worker.stores import spend_book

_BUDGETS: Final = (
    *("budget", "account", "per", "starts", "usd", "spent", "reserved", "left", "on_exceeded"),
)
_WHO: Final = ("tenant", "tier", "model")
_NOTHING: Final = Decimal(0)


@click.command(
    short_help="Show what budgets have left, and what jobs have spent.",
    epilog="""\b
Examples:
  warren spend
  warren spend --json | jq '.[] | select(.left == "0")'
  warren spend --by tenant --since 604800
Exit status: 0 shown, 1 the configuration has problems, 2 usage, 3 the store cannot be read.""",
)
@click.option(
    "--by",
    type=click.Choice(_WHO),
    help="Instead: what the ledger's jobs have spent, by this. It reads every record that is kept.",
)
@click.option(
    "--since",
    callback=seconds,
    metavar="SECONDS",
    help="With --by: only jobs that were received so long ago at most.",
)
@config_option
@as_json
def spend(  # click passes by name
    *, by: str | None, since: timedelta | None, config: str | None, as_json: bool
) -> None:
    """Show what is spent of every budget, what is reserved, and what is left, in US dollars.

    `reserved` is the most that calls may cost which run now, or whose process died: that stays until the period ends.
    A budget of each tenant has a row for every tenant that has spent of it.
    """
    if since is not None and by is None:
        raise click.UsageError("--since belongs to --by")
    with told():
        now = SystemClock().now()
        if by is not None:
            after = None if since is None else now - since
            rows = list(spenders(archive_of(config).jobs(), by=by, after=after))
            show(rows, columns=(by, "jobs", "spent", "unpriced_calls"), json_too=as_json)
            return
        settings = settings_of(config)
        standing = spend_book(settings.store).standing()
        rows = list(accounts(budgets(settings), standing, now=now))
        show(rows, columns=_BUDGETS, json_too=as_json)


def accounts(
    configured: Sequence[Budget], standing: Sequence[Counted], *, now: datetime
) -> Iterator[Mapping[str, object]]:
    """Give a row for each budget's account, in the period of now."""
    pots = {each.pot: each for each in standing}
    for budget in configured:
        for tenant in _tenants(budget, configured, pots):
            account = Account(tenant=tenant, tier=budget.tier) if tenant else budget.account(EACH)
            pot = Pot.of(account, budget.per, now)
            found = pots.get(pot)
            yield {
                "budget": budget.name,
                "account": str(account),
                "tenant": account.tenant,
                "tier": account.tier,
                "per": budget.per.value,
                "starts": pot.starts,
                "ends": pot.ends,
                "usd": budget.usd,
                "spent": found.spent if found else _NOTHING,
                "reserved": found.reserved if found else _NOTHING,
                "left": left(budget.cap(account.tenant or EACH), found),
                "on_exceeded": budget.on_exceeded.value,
            }


def _tenants(
    budget: Budget, configured: Sequence[Budget], pots: Iterable[Pot]
) -> Sequence[str | None]:
    """Give whose accounts a budget is about; None: everybody's together, or nobody has spent of it yet."""
    if budget.tenant != EACH:
        return [budget.tenant]
    spent = {
        pot.account.tenant
        for pot in pots
        if pot.account.tenant is not None
        and (pot.account.tier, pot.per) == (budget.tier, budget.per)
        and budget in budgets_of(configured, pot.account.tenant, budget.tier or "")
    }
    return sorted(spent) or [None]


@dataclass(slots=True)
class _Spent:
    jobs: int = 0
    spent: Decimal = _NOTHING
    unpriced: int = 0


def spenders(
    jobs: Iterable[Explanation], *, by: str, after: datetime | None
) -> Iterator[Mapping[str, object]]:
    """Give what the runs of the ledger's jobs have spent by tenant, tier or model, the most first."""
    sums: defaultdict[str, _Spent] = defaultdict(_Spent)
    for job in jobs:
        if after is None or job.received_at >= after:
            found = sums[getattr(job, by)]
            found.jobs += 1
            found.spent = plus(found.spent, job.tally.spent)
            found.unpriced += job.tally.unpriced
    for name, found in sorted(sums.items(), key=lambda item: (-item[1].spent, item[0])):
        yield {
            by: name,
            "jobs": found.jobs,
            "spent": found.spent,
            "unpriced_calls": found.unpriced,
        }
