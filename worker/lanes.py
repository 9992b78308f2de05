"""The lanes as they stand now: each opens, closes and changes its measure as configuration, clock and operators say."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from worker.core.events import Trouble
from worker.core.lanes import NO_ORDERS, UNLIMITED, Closed, LaneRules, Orders, closed, under
from worker.core.rations import NoPermit, Permit
from worker.errors import StoreUnavailable
from worker.ports import Clock, LaneOrders, Listener, Rationing
from worker.slots import LaneSlots

# How often orders and clock are looked at: what an operator says holds in less than a second.
LOOK_S: Final = 0.25

_FREE: Final = Permit(number=None)


class Consumer(Protocol):
    """What of a lane's consumer is steered from here."""

    def pause(self, for_: timedelta | None, reason: str) -> None:
        """Take no more for so long; None: until `resume`."""

    def resume(self) -> None:
        """Take again."""

    def shape(self, *, concurrency: int, rationed: bool) -> None:
        """Hold so many deliveries at most, and fetch them one by one or not."""


class Gate:
    """The port `LaneGate`: whether a call of the lane may start now. Until it is told its orders it is closed.

    `key` is `<tier>.<lane>`, the name under which its calls are counted.
    """

    def __init__(self, key: str, rules: LaneRules, *, rationing: Rationing, clock: Clock) -> None:
        self._key = key
        self._configured = rules
        self._rationing = rationing
        self._clock = clock
        self._orders: Orders | None = None
        self._shut: tuple[datetime, Closed] | None = None
        self._always_open = False
        self.rules = rules

    def order(self, orders: Orders) -> None:
        """Let these orders stand from now on."""
        if orders != self._orders:
            self._orders = orders
            self._shut = None
            self.rules = under(self._configured, orders)
            self._always_open = not orders.paused and not self.rules.windows

    @property
    def rationed(self) -> bool:
        """Tell whether calls need a permit that somebody counts."""
        return self.rules.per_minute != UNLIMITED

    def closed(self) -> Closed | None:
        """Tell why no call may start, and until when; None: it is open."""
        if self._always_open:  # as most lanes: it is asked several times for each job
            return None
        if self._orders is None:
            return Closed(reason="its orders are not known yet", until=None)
        now = self._clock.now()
        if self._shut is not None:
            # To find out when windows open takes a while, and it holds until then.
            since, shut = self._shut
            if since <= now and (shut.until is None or now < shut.until):
                return shut
        found = closed(self.rules, self._orders, now)
        self._shut = None if found is None else (now, found)
        return found

    async def permit(self) -> Permit | NoPermit:
        """Give the right to start one call now; a lane without a ration always does."""
        if not self.rationed:
            return _FREE
        return await self._rationing.permit(self._key, per_minute=self.rules.per_minute)

    async def give_back(self, permit: Permit) -> None:
        """Take back a permit under which no call was started."""
        if permit.number is not None:
            await self._rationing.give_back(self._key, permit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One lane of one tier: its gate, and what follows it."""

    gate: Gate
    slots: LaneSlots
    consumer: Consumer


class Lanes:
    """Keeps all lanes as they should be. `look` does it once, `run` for ever.

    While the orders cannot be read the last ones stand.
    """

    def __init__(
        self, lanes: Mapping[str, Lane], *, orders: LaneOrders, listener: Listener
    ) -> None:
        self._lanes = lanes
        self._orders = orders
        self._listener = listener
        self._closed: dict[str, str] = {}

    async def run(self) -> None:
        """Look every quarter of a second, until cancelled; a store that cannot be read is told once."""
        readable = True
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
                readable = True
            except StoreUnavailable as error:
                if readable:
                    self._tell(error)
                readable = False

    async def look(self) -> None:
        """Let every lane follow its orders and the clock.

        Raises:
            StoreUnavailable: the orders cannot be read; the lanes still follow the clock.
        """
        try:
            orders = await self._orders.orders()
            for key, lane in self._lanes.items():
                lane.gate.order(orders.get(key, NO_ORDERS))
        finally:
            for key, lane in self._lanes.items():
                self._follow(key, lane)

    def _follow(self, key: str, lane: Lane) -> None:
        rules, now_closed = lane.gate.rules, lane.gate.closed()
        if lane.slots.calls.size != rules.concurrency:
            lane.slots.resize(rules.concurrency)
        lane.consumer.shape(concurrency=rules.concurrency, rationed=lane.gate.rationed)
        if now_closed is None:
            if self._closed.pop(key, None) is not None:
                lane.consumer.resume()
        elif self._closed.get(key) != now_closed.reason:
            self._closed[key] = now_closed.reason
            lane.consumer.pause(None, now_closed.reason)

    def _tell(self, error: StoreUnavailable) -> None:
        self._listener.tell(
            Trouble(
                what="the lanes' orders cannot be read; the last ones stand",
                about="store",
                error=str(error),
            )
        )
