"""What the demo shows of its jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """Tell per tier what became of the tickets, by what each heard last."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("tier")
    for name in (
        "accepted",
        "completed",
        "cached",
        "retried",
        "dead",
        "tokens",
        "wait p50",
        "wait max",
    ):
        made.add_column(name, justify="right")
    for tier in TIERS:
        mine = [ticket for ticket in tickets if ticket.tier == tier]
        if not mine:
            continue
        last = [ticket.heard[-1] for ticket in mine]
        replies = [heard for heard in last if isinstance(heard, Reply)]
        waits = [reply.timings.waited.total_seconds() for reply in replies] or [0.0]
        tokens = sum(
            reply.usage.total_tokens for reply in replies if reply.usage and not reply.cached
        )
        made.add_row(
            tier,
            str(len(mine)),
            str(len(replies)),
            str(sum(reply.cached for reply in replies)),
            str(sum(reply.tries > 1 for reply in replies)),
            str(len(last) - len(replies)),
            f"{tokens:,}",
            f"{median(waits):.1f} s",
            f"{max(waits):.1f} s",
        )
    return made
