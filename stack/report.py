"""What the demo shows of its jobs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from rich.table import Table

from producer_sdk import Job, JobError, Reply

TIERS = ("premium", "standard", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One example request on its way, and what its submission heard, in order."""

    tier: str
    job: Job
    heard: list[Reply | JobError] = field(default_factory=list)


def table(tickets: Sequence[Ticket]) -> Table:
    """Tell per tier, and in all, what became of the tickets, by what each heard last."""
    # Ten columns in the 80 of a plain terminal.
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("tier")
    for name in (
        "accepted",
        "completed",
        "cached",
        "retried",
        "dead",
        "tokens",
        "cost",
        "wait p50",
        "wait max",
    ):
        made.add_column(name, justify="right")
    for tier in TIERS:
        mine = [ticket for ticket in tickets if ticket.tier == tier]
        if mine:
            made.add_row(tier, *_row(mine))
    made.add_row("total", *_row(tickets), style="bold")
    return made


def _row(tickets: Sequence[Ticket]) -> Iterator[str]:
    last = [ticket.heard[-1] for ticket in tickets]
    replies = [heard for heard in last if isinstance(heard, Reply)]
    waits = [reply.timings.waited.total_seconds() for reply in replies] or [0.0]
    tokens = sum(reply.usage.total_tokens for reply in replies if reply.usage and not reply.cached)
    yield str(len(tickets))
    yield str(len(replies))
    yield str(sum(reply.cached for reply in replies))
    yield str(sum(reply.tries > 1 for reply in replies))
    yield str(len(last) - len(replies))
    yield f"{tokens:,}"
    yield cost_of(replies)
    yield f"{median(waits):.1f} s"
    yield f"{max(waits):.1f} s"


def cost_of(replies: Sequence[Reply]) -> str:
    """Add up what the replies' calls cost; those of unknown cost are counted, and not taken for free."""
    known = [reply.cost for reply in replies if reply.cost is not None]
    unknown = len(replies) - len(known)
    if unknown and not known:
        return f"{unknown} unknown"
    return f"${sum(known, Decimal(0)):.4f}" + (f" + {unknown} unknown" if unknown else "")
