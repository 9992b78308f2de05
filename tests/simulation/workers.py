"""A simulated worker: composed of the real parts as `worker.app` composes them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from producer_sdk.wire import Lane, request_key
from tests.simulation.links import Link
from tests.simulation.process import (
    ATTEMPT_TIMEOUT,
    POLICY,
    RULES,
    TIER,
    TRIES,
    Process,
    tier_rules,
)
from tests.simulation.store import SimulatedStore
from tests.simulation.upstream import SimulatedEndpoint
from worker.app import _pause_for
from worker.asking import Asking
from worker.broker.asks import AskIntake
from worker.broker.delivery import Outlet
from worker.broker.intake import TierIntake
from worker.broker.publisher import Publisher
from worker.broker.trouble import Troubles
from worker.calloff import call_off
from worker.core.budgets import Budget, OnExceeded
from worker.core.events import (
    TierPaused,
)
from worker.core.quick import TryPolicy
from worker.core.spend import Per
from worker.crew import Crew
from worker.errors import StoreUnavailable
from worker.lanes import Gate, Lanes
from worker.lanes import Lane as WorkerLane
from worker.outage import Outage
from worker.patience import (
    PatientLedger,
    PatientLimits,
    PatientRationing,
    PatientSpend,
    WatchedOrders,
)
from worker.pipeline import Line
from worker.slots import LaneSlots
from worker.spending import Spending
from worker.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from tests.simulation.world import World


# Of a call, whatever came of it, and the most that one costs: so that what is spent can be told by counting calls.
PRICE: Final = Decimal(1)
_BUDGET: Final = Budget(
    name="everybody",
    tenant=None,
    tier=None,
    per=Per.MONTH,
    usd=Decimal(10**6),
    on_exceeded=OnExceeded.WAIT,
)


class _Ordered(PatientLedger):
    """`PatientLedger`, with the called-off jobs in an order that does not depend on Python's hash seed."""

    async def called_off(self) -> frozenset[str]:
        return cast("frozenset[str]", tuple(sorted(await super().called_off())))


class WorkerProcess(Process):
    """A worker, from its intakes to its store."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        clock, chance = world.clock, world.chance.random
        self.store = SimulatedStore(self, world.database, clock=clock, listener=self)
        self.consume, self.publish = Link(self), Link(self)
        self.links = [self.consume, self.publish]
        self.outage = Outage(probe=self.store.renew, clock=clock, listener=self, chance=chance)
        self.ledger = _Ordered(self.store.ledger, self.outage)
        rationing = PatientRationing(self.store.rationing, self.outage)
        self.slots = {
            key: LaneSlots.of(rules.concurrency, ATTEMPT_TIMEOUT) for key, rules in RULES.items()
        }
        self.gates = {
            key: Gate(key, rules, rationing=rationing, clock=clock) for key, rules in RULES.items()
        }
        upstream = UpstreamClient(
            {TIER: [SimulatedEndpoint(self, each, clock) for each in world.endpoints]},
            policy=TryPolicy(tries=TRIES),
            clock=clock,
            chance=chance,
            listener=self,
            limits=PatientLimits(self.store.limits, self.outage),
            price=lambda **_: PRICE,
        )
        self.spending = Spending(
            [_BUDGET],
            spend=PatientSpend(self.store.spend, self.outage),
            estimate=lambda _: PRICE,
            clock=clock,
            chance=chance,
        )
        self.line = Line(
            ledger=self.ledger,
            upstream=upstream,
            clock=clock,
            listener=self,
            steps=self,
            policy=POLICY,
            tries=TRIES,
            slots=self.slots,
            gates=self.gates,
            pause=self._pause,
            chance=chance,
            outage=self.outage,
            spending=self.spending,
        )
        self.crew = Crew(handle=self.line.handle, set_aside=self.line.set_aside, listener=self)
        self.intakes: dict[str, TierIntake] = {}
        self.background: list[asyncio.Task[Any]] = []
        self.lanes: Lanes | None = None
        self.serving = False

    async def serve(self) -> None:
        """Start, and take deliveries."""
        troubles = Troubles(self)
        outlet = Outlet(
            publisher=Publisher(cast("Any", self.publish), troubles),
            listener=self,
            clock=self.world.clock,
            steps=self,
        )
        common: dict[str, Any] = {
            "link": self.consume,
            "outlet": outlet,
            "troubles": troubles,
            "spawn": self.crew.spawn,
        }
        for lane in Lane:
            key = request_key(TIER, lane)
            self.intakes[key] = TierIntake(
                rules=tier_rules(lane),
                concurrency=RULES[key].concurrency,
                take=self.crew.take,
                **common,
            )
        self.lanes = Lanes(
            {
                key: WorkerLane(gate=self.gates[key], slots=self.slots[key], consumer=intake)
                for key, intake in self.intakes.items()
            },
            orders=WatchedOrders(self.store.lane_orders, self.outage),
            listener=self,
        )
        await self._open(self.lanes.look)
        work = [self.outage.run(), *(intake.run() for intake in self.intakes.values())]
        if self.world.asks:
            closing = asyncio.Event()
            asking = Asking(ledger=self.ledger, listener=self, noted=closing.set)
            asks = AskIntake(
                take=lambda ask: self.crew.spawn(self.line.until_down(lambda: asking.own(ask))),
                **common,
            )
            work += [asks.run(), call_off(self.line, closing)]
            self.intakes["asks"] = cast("TierIntake", asks)
        _pause_for(self.outage, list(self.intakes.values()))
        if self.world.orders:
            work.append(self.lanes.run())
        self.background = [asyncio.ensure_future(each) for each in work]
        for task in self.background:
            task.add_done_callback(self._note)
        self.serving = True

    async def down(self, grace: timedelta) -> bool:
        """Go down in order, as `worker.app` does; tell whether all that was held was settled."""
        quiet = asyncio.gather(*(intake.quiet() for intake in self.intakes.values()))
        await asyncio.wait({quiet}, timeout=min(5.0, grace.total_seconds()))
        quiet.cancel()
        await asyncio.gather(quiet, return_exceptions=True)
        self.line.quiet()
        drained = await self.crew.drain(grace)
        if not drained:
            self.world.journal.excuse(self.owner)
        await self.crew.stop()
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        await self.spending.aclose()
        for link in self.links:
            await link.close()
        await self.store.close()
        return drained

    def unfinished(self) -> list[str]:
        """Name what holds on to something, though nothing is held any more."""
        slots = self.slots.values()
        found = {
            "call slots": any(each.calls._taken for each in slots),
            "followers' slots": any(each.followers._taken for each in slots),
            "jobs said to be called for": any(each.calling for each in slots),
            "calls without an end": bool(self.line.calls),
            "operations that wait for the store": not self.outage.answering
            or self.outage.waiting > 0,
            "waits for claims": bool(self.store.ledger._watch._awaited),
        }
        return [f"{self.name}: {what}" for what, holds in found.items() if holds]

    async def _open(self, look: Callable[[], Awaitable[None]]) -> None:
        """Open the store; where that fails a real worker ends, and whoever keeps it starts it again."""
        while True:
            try:
                await self.store.open()
                await look()
            except StoreUnavailable:
                await self.store.close()
                await asyncio.sleep(1)
            else:
                return

    def _pause(self, event: TierPaused) -> None:
        intake = self.intakes[f"{event.tier}.{event.lane}"]
        if not intake.paused:
            for_ = None if event.seconds is None else timedelta(seconds=event.seconds)
            intake.pause(for_, event.reason)
