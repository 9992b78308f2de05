"""A job's rows, as they are read: its own, its claim's, and its history."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import apsw

from worker.core.model import HistoryEntry, State, Tally, Work
from worker.core.money import dollars, whole
from worker.store.instants import from_us

# A job that waits for weeks writes a line each time it is parked; its newest lines are kept.
HISTORY_LINES: Final = 200

_LOADED: Final = (
    "SELECT number, id, content_hash, state, run, generation, carrier, received_at, submitted_at,"
    " begun_at, attempts, calls, refusals, snoozes, upstream, spent, unpriced, outcome, ended_at,"
    " letter_due, park_kind, park_after, park_until, park_carried FROM"
)
# What stands in a JSON list, each once. To go through it and look up each takes half as long as `IN (SELECT ...)`, for
# which SQLite makes and sorts a table first.
LISTED: Final = "(SELECT value AS listed FROM json_each(?1)) CROSS JOIN"
_STATES: Final = {state.value: state for state in State}


class JobRow(NamedTuple):
    """What the ledger knows of a job and its current run; instants and durations in microseconds."""

    number: int
    id: str
    content_hash: str
    state: State
    run: int
    generation: int
    carrier: str
    received_at: int
    submitted_at: int
    begun_at: int | None = None
    attempts: int = 0
    calls: int = 0
    refusals: int = 0
    snoozes: int = 0
    upstream: int = 0
    spent: str = "0"
    unpriced: int = 0
    outcome: str | None = None
    ended_at: int | None = None
    letter_due: int = 0
    park_kind: str | None = None
    park_after: int | None = None
    park_until: int | None = None
    park_carried: int | None = None

    @property
    def tally(self) -> Tally:
        """What the run has spent so far."""
        return Tally(
            attempts=self.attempts,
            calls=self.calls,
            refusals=self.refusals,
            snoozes=self.snoozes,
            spent=dollars(int(self.spent)),
            unpriced=self.unpriced,
        )

    def spent_with(self, work: Work) -> str:
        """Give what the run has spent with an attempt's work added, as it is kept."""
        return str(int(self.spent) + whole(work.spent))


class Claim(NamedTuple):
    """A row of `claims`."""

    key: str
    owner: str
    job_id: str
    run: int
    followed: int = 0


class Answer(NamedTuple):
    """A row of `answers`: the run that ended under a claim key."""

    job_id: str
    run: int
    ended_at: int


class Line(NamedTuple):
    """What a line of history says besides when and in which run."""

    what: str
    attempt: int
    kind: str | None = None
    status: int | None = None
    endpoint: str | None = None
    calls: int = 0
    upstream_us: int = 0


def load(connection: apsw.Connection, job_id: str) -> JobRow | None:
    """Give a job's row."""
    found = connection.execute(f"{_LOADED} jobs WHERE id = ?", (job_id,)).fetchone()
    return None if found is None else _row(found)


def load_all(connection: apsw.Connection, job_ids: str) -> list[JobRow]:
    """Give the rows of these jobs, as far as there are any. `job_ids` is a JSON list that names each once."""
    found = connection.execute(
        f"{_LOADED} {LISTED} jobs ON id = listed",
        (job_ids,),
    )
    return [_row(each) for each in found]


def _row(found: Iterable[Any]) -> JobRow:
    number, job_id, content_hash, state, *rest = found
    return JobRow(number, job_id, content_hash, _STATES[state], *rest)


def history_of(
    connection: apsw.Connection, number: int, run: int | None = None
) -> tuple[HistoryEntry, ...]:
    """Give a job's history, oldest line first; `run`: that run's alone."""
    return tuple(
        entry(line)
        for line in connection.execute(
            "SELECT line, at, run, generation, attempt, what, kind, status, endpoint, calls, upstream_ms"
            " FROM history WHERE job = ? AND run = coalesce(?, run) ORDER BY line",
            (number, run),
        )
    )


def entry(line: tuple[Any, ...]) -> HistoryEntry:
    """Give what a line says, of its row from `line` on."""
    _, at, run, generation, attempt, what, kind, status, endpoint, calls, upstream_ms = line
    return HistoryEntry(
        at=from_us(at),
        run=run,
        generation=generation,
        attempt=attempt,
        what=what,
        kind=kind,
        status=status,
        endpoint=endpoint,
        calls=calls,
        upstream_ms=upstream_ms,
    )
