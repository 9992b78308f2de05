"""The store's database in memory, and what is noted of every commit."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import apsw

from tests.simulation.journal import Ended, Journal
from worker.store.embedded import schema

T = TypeVar("T")

_WATCHED: Final = """
CREATE TEMP TRIGGER ended AFTER UPDATE OF state ON main.jobs WHEN NEW.state != 'open'
  BEGIN SELECT noted('ended', NEW.id, NEW.run, NEW.state, NEW.attempts, NEW.calls); END;
CREATE TEMP TRIGGER reopened AFTER UPDATE OF run ON main.jobs WHEN NEW.run != OLD.run
  BEGIN SELECT noted('reopened', NEW.id, NEW.run, OLD.state, 0, 0); END;
CREATE TEMP TRIGGER claimed AFTER INSERT ON main.claims
  BEGIN SELECT noted('claimed', NEW.job_id, NEW.run, NEW.owner, 0, 0); END;
CREATE TEMP TRIGGER freed AFTER DELETE ON main.claims
  BEGIN SELECT noted('freed', OLD.job_id, OLD.run, OLD.owner, 0, 0); END;
"""


class Database:
    """One database in memory, emptied for each schedule; what is committed is noted in the journal."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        schema._bring_up(self.connection)
        self.connection.create_scalar_function("noted", self._noted, 6)
        tables = [
            name
            for (name,) in self.connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
            )
        ]
        self._clear = ";".join(f"DELETE FROM {name}" for name in tables if name != "cache_total")  # noqa: S608  # names from above
        self.connection.execute(_WATCHED)
        self._pending: list[tuple[Any, ...]] = []
        self._has_lapsed: Callable[[str], bool] = lambda _: False
        self.journal: Journal | None = None

    def clear(self, journal: Journal, has_lapsed: Callable[[str], bool]) -> None:
        """Begin a new schedule."""
        self.connection.execute(self._clear)
        self._pending.clear()
        self.journal = journal
        self._has_lapsed = has_lapsed

    def transact(self, act: Callable[[apsw.Connection], T], *, owner: str, writes: bool) -> T:
        """Run an operation in a transaction of its own and note what it changed."""
        connection = self.connection
        if not writes:
            return act(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            value = act(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            self._pending.clear()
            raise
        self._note(owner)
        return value

    def _noted(self, *values: "apsw.SQLiteValue") -> None:
        self._pending.append(values)

    def _note(self, owner: str) -> None:
        journal = self.journal
        assert journal is not None
        for what, job_id, run, word, attempts, calls in self._pending:
            match what:
                case "ended":
                    ended = Ended(
                        step=journal.loop.steps, state=word, attempts=attempts, calls=calls
                    )
                    journal.ended[job_id, run].append(ended)
                case "reopened":
                    journal.reopened.append((job_id, run, word))
                case "claimed":
                    journal.claimed[job_id, run] += 1
                case "freed" if word == owner:
                    journal.settle(owner, job_id)
                case _ if self._has_lapsed(word):
                    journal.excuse(word, job_id)
                case _:
                    pass  # a living process's claim was taken: its call is excused by nothing
            journal.tell(owner.removeprefix("boot."), f"ledger: {what} {job_id[:6]} {run} {word}")
        self._pending.clear()
