"""The `Rationing` port over the embedded file: the latest starts of each lane that has a ration."""

from datetime import timedelta

import apsw

from worker.core.rations import NoPermit, Permit, rations, wait_for
from worker.ports import Clock
from worker.store.embedded.file import EmbeddedFile
from worker.store.instants import span_us, to_us, us_span

# Rows beyond every rule's span are dropped with the next permit.
_KEPT_US = span_us(timedelta(minutes=2))


class EmbeddedRationing:
    """Counts the calls that a lane starts, over all worker processes of the host and their restarts."""

    def __init__(self, file: EmbeddedFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        """Give the right to start one call now, and count it; or say how long to wait."""
        return await self._file.join(
            lambda books: _permit(books.aside, lane, per_minute, to_us(self._clock.now()))
        )

    async def give_back(self, lane: str, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        await self._file.join(
            lambda books: books.aside.execute(
                "DELETE FROM permits WHERE lane = ? AND number = ?", (lane, permit.number)
            ).fetchall()
        )


def _permit(connection: apsw.Connection, lane: str, per_minute: int, now: int) -> Permit | NoPermit:
    # The wall clock, so that a reboot forgets nothing. Where it was put back, what lies ahead of it counts
    # as of now, so that a lane waits for a minute at most.
    connection.execute("UPDATE permits SET at = ?1 WHERE lane = ?2 AND at > ?1", (now, lane))
    connection.execute("DELETE FROM permits WHERE lane = ? AND at < ?", (lane, now - _KEPT_US))
    # Apart, each is one step into the index; together they would read all of it.
    # Where none is left the numbers go on from the time, far ahead of all before: a permit that is given back late is no other's.
    latest = connection.execute("SELECT max(number) FROM permits WHERE lane = ?", (lane,)).get
    latest = latest or now
    oldest = connection.execute("SELECT min(number) FROM permits WHERE lane = ?", (lane,)).get
    oldest = oldest or latest + 1
    rules = rations(per_minute)
    wanted = [latest - rule.calls + 1 for rule in rules]
    ages = [_age(connection, lane, each, now) if each >= oldest else None for each in wanted]
    wait = wait_for(ages, rules)
    if wait is not None:
        return NoPermit(wait=wait)
    connection.execute(
        "INSERT INTO permits (lane, number, at) VALUES (?, ?, ?)", (lane, latest + 1, now)
    )
    return Permit(number=latest + 1)


def _age(connection: apsw.Connection, lane: str, number: int, now: int) -> timedelta | None:
    """Give the age of a start by its number in the lane.

    By number, and not by counting back, so that it costs the same whatever the ration. Where that one was given
    back the next one stands in for it, which errs on the side of waiting.
    """
    at = connection.execute(
        "SELECT at FROM permits WHERE lane = ? AND number >= ? ORDER BY number LIMIT 1",
        (lane, number),
    ).get
    return None if at is None else us_span(now - at)
