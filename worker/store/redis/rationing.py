"""The `Rationing` port over Redis: the latest starts of each lane that has a ration, on the server's clock."""

import secrets
from datetime import timedelta
from typing import Final

from worker.core.rations import NoPermit, Permit, rations, wait_for
from worker.ports import Clock
from worker.store.instants import span_us, to_us, us_span
from worker.store.redis.connection import RedisConnection
from worker.store.redis.scripts import Script, read

# What is older than every rule's span is dropped with the next permit, and all of it when none comes.
_KEPT_US: Final = span_us(timedelta(minutes=2))
_PERMIT: Final = Script.of(read("permit"))
# What a sorted set's member and a signed number of any language can hold.
_NUMBER_BITS: Final = 63


class RedisRationing:
    """Counts the calls that a lane starts, over all worker processes of all hosts and their restarts.

    Time is the server's: hosts whose clocks differ share one minute. `clock` takes its place in tests.
    """

    def __init__(self, connection: RedisConnection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._clock = clock

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        """Give the right to start one call now, and count it; or say how long to wait."""
        rules = rations(per_minute)
        # Its own number, so that a question that travels twice counts once.
        number = secrets.randbits(_NUMBER_BITS)
        limits = [part for rule in rules for part in (rule.calls, span_us(rule.span))]
        now = "" if self._clock is None else to_us(self._clock.now())
        given, *ages = await self._connection.run(_PERMIT, lane, number, now, _KEPT_US, *limits)
        if given:
            return Permit(number=number)
        wait = wait_for([None if age < 0 else us_span(age) for age in ages], rules)
        return NoPermit(wait=timedelta() if wait is None else wait)

    async def give_back(self, lane: str, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        if permit.number is not None:
            await self._connection.command(
                "ZREM", self._connection.key("permits", lane), permit.number
            )
