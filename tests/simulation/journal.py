"""What happened in a schedule, noted where it happened: the auditor reads this and nothing else.

`step` is the loop's step number: it orders what happens at the same virtual time.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.simulation.loop import SimulatedLoop


@dataclass(slots=True, kw_only=True)
class Submitted:
    """A request that a producer published, or (without content) an ask. `owed`: an answer must come by its route."""

    id: str
    job_id: str
    tenant: str
    content: str | None
    route: str
    owed: bool
    accepted: bool = False


@dataclass(slots=True, kw_only=True)
class Call:
    """One upstream call; `status` as the upstream ended it, None: it did not, or the caller closed it.

    `excused`: its process died or lost its lease, or was stopped, before the attempt was recorded. `unaware`: it
    slept after it had last made sure that it may call.
    """

    number: int
    job_id: str
    run: int
    claim_key: str
    tenant: str
    content: str
    process: str
    owner: str
    began: int
    at: float
    status: int | None = None
    settled: int | None = None
    excused: bool = False
    unaware: bool = False
    lane: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A terminal record that the ledger committed."""

    step: int
    state: str
    attempts: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A reply that reached a callback queue."""

    route: str
    submission: str
    job_id: str
    run: int
    status: str
    source: str
    body: bytes


@dataclass(slots=True)
class Journal:
    """The log of one schedule."""

    loop: SimulatedLoop
    submitted: dict[str, Submitted] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    ended: dict[tuple[str, int], list[Ended]] = field(default_factory=lambda: defaultdict(list))
    claimed: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    reopened: list[tuple[str, int, str]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    told: list[str] | None = None

    def tell(self, who: str, what: str) -> None:
        """Note a line for whoever reads the trace."""
        if self.told is not None:
            self.told.append(f"{self.loop.time() - 1000:9.3f}s  {who:<9} {what}")

    def excuse(self, owner: str, job_id: str | None = None) -> None:
        """Note that a process lost its calls, or one of them, before their attempts were recorded."""
        for call in self.calls:
            if call.owner == owner and call.settled is None and job_id in (None, call.job_id):
                call.excused = True
                call.settled = self.loop.steps

    def settle(self, owner: str, job_id: str) -> None:
        """Note that a process recorded what its call yielded."""
        for call in self.calls:
            if call.owner == owner and call.job_id == job_id and call.settled is None:
                call.settled = self.loop.steps
