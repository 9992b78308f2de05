"""The `Archive` port on a read-only connection: what operators read while the workers go on."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from worker.core.kinds import Kind
from worker.core.letters import Counts, Explanation, Letter, Selection
from worker.core.model import State, Submission, Tally
from worker.core.money import dollars
from worker.errors import AmbiguousJob
from worker.store import outcomes
from worker.store.embedded.connection import connect_reader, unavailable
from worker.store.embedded.rows import history_of
from worker.store.instants import from_us

_SHORTEST_ID: Final = 6

_SELECTED: Final = """
SELECT l.job, j.id, l.run, j.tenant, j.tier, j.lane, j.path, j.model, l.kind, l.status, l.code, l.at,
  l.attempts, l.request
FROM letters l JOIN jobs j ON j.number = l.job
WHERE (?1 = '[]' OR j.id IN (SELECT value FROM json_each(?1)))
  AND (?2 = '[]' OR l.kind IN (SELECT value FROM json_each(?2)))
  AND (?3 = '[]' OR j.tier IN (SELECT value FROM json_each(?3)))
ORDER BY l.at, l.job
"""

_EXPLAINED: Final = """
SELECT number, id, tenant, tier, lane, path, model, state, run, generation, attempts, calls, refusals, snoozes, spent, unpriced,
  received_at, deadline, outcome, (SELECT owner FROM claims WHERE job_id = jobs.id)
FROM jobs"""


class EmbeddedArchive:
    """What operators read of the ledger; it changes nothing and blocks no worker.

    Each method reads one snapshot. Errors: `StoreUnavailable` when there is no such file or it cannot be
    read, `SettingsError` when it is no store of this version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def letters(self, selection: Selection) -> Sequence[Letter]:
        """Give the dead letters that are selected, oldest first, all in memory with their requests."""
        conditions = (selection.job_ids, selection.kinds, selection.tiers)
        with self._reading() as connection:
            found = connection.execute(_SELECTED, tuple(map(_json_list, conditions))).fetchall()
            return tuple(_letter(connection, row) for row in found)

    def explain(self, job_id: str) -> Explanation | None:
        """Give all that is known of a job; `job_id` may be shortened to its first 6 or more digits.

        Raises:
            AmbiguousJob: more than one job begins with these digits, or they are too few.
        """
        if len(job_id) < _SHORTEST_ID:
            raise AmbiguousJob(f"a job id needs its first {_SHORTEST_ID} digits at least")
        with self._reading() as connection:
            found = connection.execute(
                f"{_EXPLAINED} WHERE id >= ?1 AND id < ?1 || char(0x10ffff) ORDER BY id LIMIT 2",  # a constant
                (job_id,),
            ).fetchall()
            if not found:
                return None
            if len(found) > 1 and found[0][1] != job_id:
                raise AmbiguousJob(
                    f"more than one job begins with {job_id}; give more digits of the one you mean"
                )
            return _explanation(connection, found[0])

    def jobs(self) -> Iterator[Explanation]:
        """Give all that is known of every job, in the order in which they were first seen."""
        with self._reading() as connection:
            for row in connection.execute(f"{_EXPLAINED} ORDER BY number"):  # a constant
                yield _explanation(connection, row)

    def counts(self) -> Counts:
        """Give how many jobs are open and how many dead letters wait."""
        with self._reading() as connection:
            return Counts(
                open_jobs=dict(
                    connection.execute(
                        "SELECT tier, count(*) FROM jobs WHERE state = 'open' GROUP BY tier"
                    )
                ),
                letters={
                    (tier, Kind(kind)): number
                    for tier, kind, number in connection.execute(
                        "SELECT j.tier, l.kind, count(*) FROM letters l JOIN jobs j ON j.number = l.job"
                        " GROUP BY j.tier, l.kind"
                    )
                },
            )

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        # Opened for each question: a reader that stays would keep the workers' log from being cut.
        connection = connect_reader(self._path)
        try:
            connection.execute("BEGIN")
            yield connection
        except apsw.Error as error:
            raise unavailable(error, str(self._path)) from error
        finally:
            connection.close()


def _json_list(values: frozenset[str]) -> str:
    return json.dumps(sorted(values))


def _letter(connection: apsw.Connection, row: tuple[Any, ...]) -> Letter:
    number, job_id, run, tenant, tier, lane, path, model, kind, status, code, at, attempts, body = (
        row
    )
    return Letter(
        job_id=job_id,
        run=run,
        tenant=tenant,
        tier=tier,
        lane=lane,
        path=path,
        model=model,
        kind=Kind(kind),
        status=status,
        code=code,
        at=from_us(at),
        attempts=attempts,
        history=history_of(connection, number, run),
        request=bytes(body),
    )


def _explanation(connection: apsw.Connection, row: tuple[Any, ...]) -> Explanation:
    number, job_id, tenant, tier, lane, path, model, state, run, generation = row[:10]
    attempts, calls, refusals, snoozes, spent, unpriced = row[10:16]
    received_at, deadline, outcome, owner = row[16:]
    return Explanation(
        job_id=job_id,
        tenant=tenant,
        tier=tier,
        lane=lane,
        path=path,
        model=model,
        state=State(state),
        run=run,
        generation=generation,
        tally=Tally(
            attempts=attempts,
            calls=calls,
            refusals=refusals,
            snoozes=snoozes,
            spent=dollars(int(spent)),
            unpriced=unpriced,
        ),
        received_at=from_us(received_at),
        deadline=from_us(deadline),
        claimed_by=owner,
        submissions=tuple(
            (Submission(id=id_, reply_to=reply_to), bool(heard))
            for id_, reply_to, heard in connection.execute(
                "SELECT id, reply_to, heard FROM submissions WHERE job = ? ORDER BY id", (number,)
            )
        ),
        history=history_of(connection, number),
        cost=outcomes.own_cost(outcome),
    )
