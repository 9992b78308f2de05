"""The `Rationing` port over the embedded file: the latest starts of each lane that has a ration."""

from datetime import timedelta

import apsw

from worker.core.rations import NoPermit, Permit, rations, wait_for
from worker.ports import Clock
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.instants import span_us, to_us, us_span

# Rows beyond every rule's span are dropped with the next permit.
_KEPT_US = span_us(timedelta(minutes=2))


class EmbeddedRationing:
    """Counts the calls that a lane starts, over all worker processes of the host and their restarts."""

    def __init__(self, file: EmbeddedFile, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        """Give the right to start one call now, and count it; or say how long to wait."""
        return await self._file.run(
            lambda connection: _permit(connection, lane, per_minute, to_us(self._clock.now()))
        )

    async def give_back(self, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        if permit.number is not None:
            await self._file.run(
                lambda connection: connection.execute(
                    "DELETE FROM permits WHERE number = ?", (permit.number,)
                ).fetchall()
            )


def _permit(connection: apsw.Connection, lane: str, per_minute: int, now: int) -> Permit | NoPermit:
    # The wall clock, so that a reboot forgets nothing. Where it was put back, what lies ahead of it counts
    # as of now, so that a lane waits for a minute at most.
    connection.execute("UPDATE permits SET at = ?1 WHERE lane = ?2 AND at > ?1", (now, lane))
    connection.execute("DELETE FROM permits WHERE lane = ? AND at < ?", (lane, now - _KEPT_US))
    rules = rations(per_minute)
    ages = [_age(connection, lane, rule.calls, now) for rule in rules]
    wait = wait_for(ages, rules)
    if wait is not None:
        return NoPermit(wait=wait)
    number = connection.execute(
        "INSERT INTO permits (lane, at) VALUES (?, ?) RETURNING number", (lane, now)
    ).get
    return Permit(number=number)


def _age(connection: apsw.Connection, lane: str, calls: int, now: int) -> timedelta | None:
    """Give the age of the `calls`-th latest start; None: there are fewer."""
    at = connection.execute(
        "SELECT at FROM permits WHERE lane = ? ORDER BY at DESC LIMIT 1 OFFSET ?", (lane, calls - 1)
    ).get
    return None if at is None else us_span(now - at)
