"""Dead letters as operators see them, and how they are selected for listing and replay."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from worker.core.kinds import Kind
from worker.core.model import HistoryEntry, State, Submission, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter of the ledger's index. `request` is the upstream body, byte for byte."""

    job_id: str
    run: int
    tenant: str
    tier: str
    lane: str
    path: str
    model: str
    kind: Kind
    status: int | None
    code: str | None
    at: datetime
    attempts: int
    history: tuple[HistoryEntry, ...]
    request: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant: every condition that is set must hold; none set means all."""

    job_ids: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    tiers: frozenset[str] = frozenset()

    def takes(self, *, job_id: str, kind: str | None, tier: str) -> bool:
        """Tell whether a letter with these marks is meant."""
        return (
            (not self.job_ids or job_id in self.job_ids)
            and (not self.kinds or kind in self.kinds)
            and (not self.tiers or tier in self.tiers)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that the ledger knows of a job: where it stands and how it came there. Never any content.

    `cost` is what the call of a completed run cost in US dollars; None: not known.
    """

    job_id: str
    tenant: str
    tier: str
    lane: str
    path: str
    model: str
    state: State
    run: int
    generation: int
    tally: Tally
    received_at: datetime
    deadline: datetime
    claimed_by: str | None
    submissions: tuple[tuple[Submission, bool], ...]
    history: tuple[HistoryEntry, ...]
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is: open jobs by tier, dead letters by tier and kind."""

    open_jobs: Mapping[str, int]
    letters: Mapping[tuple[str, Kind], int]
