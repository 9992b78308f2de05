import asyncio
from datetime import timedelta

import pytest

from tests.contract.world import BEGAN, Ear, HandClock
from worker import lanes
from worker.core.events import Trouble
from worker.core.lanes import NO_ORDERS, LaneRules, Orders
from worker.core.rations import NoPermit, Permit
from worker.core.windows import Window
from worker.errors import StoreUnavailable
from worker.lanes import Gate, Lane, Lanes
from worker.slots import LaneSlots

KEY = "small.bulk"
AFTERNOON = Window.parse("13:00-18:00 UTC")  # the clock begins at noon


class Counter:
    """A `Rationing` that gives `left` permits."""

    def __init__(self, left: int = 0) -> None:
        self.left = left
        self.asked: list[tuple[str, int]] = []
        self.back: list[Permit] = []

    async def permit(self, lane: str, *, per_minute: int) -> Permit | NoPermit:
        self.asked.append((lane, per_minute))
        if not self.left:
            return NoPermit(wait=timedelta(seconds=9))
        self.left -= 1
        return Permit(number=self.left)

    async def give_back(self, lane: str, permit: Permit) -> None:
        assert lane == KEY
        self.back.append(permit)


class FakeConsumer:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.shapes: list[tuple[int, bool]] = []

    def pause(self, for_: timedelta | None, reason: str) -> None:
        assert for_ is None
        self.log.append(f"pause: {reason}")

    def resume(self) -> None:
        self.log.append("resume")

    def shape(self, *, concurrency: int, rationed: bool) -> None:
        self.shapes.append((concurrency, rationed))


class FakeOrders:
    def __init__(self) -> None:
        self.all: dict[str, Orders] = {}
        self.down = False

    async def orders(self) -> dict[str, Orders]:
        if self.down:
            raise StoreUnavailable("down")
        return self.all


class House:
    def __init__(self, rules: LaneRules) -> None:
        self.clock, self.ear, self.rationing = HandClock(), Ear(), Counter()
        self.orders, self.consumer = FakeOrders(), FakeConsumer()
        self.gate = Gate(KEY, rules, rationing=self.rationing, clock=self.clock)
        self.slots = LaneSlots.of(rules.concurrency, timedelta(minutes=1))
        lane = Lane(gate=self.gate, slots=self.slots, consumer=self.consumer)
        self.lanes = Lanes({KEY: lane}, orders=self.orders, listener=self.ear)


@pytest.fixture
def house() -> House:
    return House(LaneRules(concurrency=4, windows=(AFTERNOON,)))


async def test_a_gate_is_closed_until_it_knows_its_orders(house: House) -> None:
    house.clock.pass_by(timedelta(hours=2))
    shut = house.gate.closed()
    assert shut is not None
    await house.lanes.look()
    assert house.gate.closed() is None


async def test_a_lane_opens_and_closes_with_the_clock_and_its_consumer_is_told_once(
    house: House,
) -> None:
    for _ in range(3):
        await house.lanes.look()
    assert house.consumer.log == ["pause: outside its windows"]
    shut = house.gate.closed()
    assert shut is not None
    assert shut.until == BEGAN + timedelta(hours=1)
    house.clock.pass_by(timedelta(hours=1))
    for _ in range(3):
        await house.lanes.look()
    house.clock.pass_by(timedelta(hours=5))
    await house.lanes.look()
    assert house.consumer.log == [
        "pause: outside its windows",
        "resume",
        "pause: outside its windows",
    ]


async def test_a_clock_that_is_put_back_closes_a_lane_again(house: House) -> None:
    house.clock.pass_by(timedelta(hours=2))
    await house.lanes.look()
    assert house.gate.closed() is None
    house.clock.pass_by(-timedelta(hours=2))
    assert house.gate.closed() is not None


async def test_a_pause_closes_an_open_lane_and_tells_its_reason(house: House) -> None:
    house.clock.pass_by(timedelta(hours=2))
    await house.lanes.look()
    house.orders.all = {KEY: Orders(paused=True, reason="trouble")}
    await house.lanes.look()
    house.orders.all = {KEY: Orders(paused=True, reason="more trouble")}
    await house.lanes.look()
    house.orders.all = {}
    await house.lanes.look()
    assert house.consumer.log == ["pause: trouble", "pause: more trouble", "resume"]


async def test_a_lane_follows_what_operators_set(house: House) -> None:
    house.orders.all = {KEY: Orders(concurrency=9, per_minute=60, windows=())}
    await house.lanes.look()
    assert house.gate.closed() is None
    assert house.slots.calls.size == 9
    assert house.consumer.shapes[-1] == (9, True)
    house.orders.all = {KEY: NO_ORDERS}
    await house.lanes.look()
    assert house.slots.calls.size == 4
    assert house.consumer.shapes[-1] == (4, False)


async def test_while_the_store_is_down_the_last_orders_stand_and_the_clock_is_followed(
    house: House,
) -> None:
    house.orders.all = {KEY: Orders(concurrency=9)}
    await house.lanes.look()
    house.orders.down = True
    house.clock.pass_by(timedelta(hours=1))
    with pytest.raises(StoreUnavailable):
        await house.lanes.look()
    assert house.consumer.log[-1] == "resume"
    assert house.slots.calls.size == 9
    assert not [event for event in house.ear.heard if isinstance(event, Trouble)]


async def test_a_store_that_stays_down_is_told_once_and_again_after_it_was_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LOOK_S", 0)
    looks: list[bool] = []
    orders = house.orders.orders

    async def counted() -> dict[str, Orders]:
        looks.append(house.orders.down)
        house.orders.down = len(looks) not in {4, 5}
        return await orders()

    monkeypatch.setattr(house.orders, "orders", counted)
    running = asyncio.create_task(house.lanes.run())
    async with asyncio.timeout(10):
        while len(looks) < 9:  # noqa: ASYNC110  # nobody else counts them
            await asyncio.sleep(0)
    running.cancel()
    troubles = [event for event in house.ear.heard if isinstance(event, Trouble)]
    assert len(troubles) == 2


async def test_a_lane_without_a_ration_asks_nobody() -> None:
    house = House(LaneRules(concurrency=4))
    permit = await house.gate.permit()
    assert permit == Permit(number=None)
    await house.gate.give_back(permit)
    assert house.rationing.asked == []
    assert house.rationing.back == []


async def test_a_rationed_lane_counts_under_its_name() -> None:
    house = House(LaneRules(concurrency=4, per_minute=300))
    house.rationing.left = 1
    permit = await house.gate.permit()
    assert isinstance(permit, Permit)
    assert await house.gate.permit() == NoPermit(wait=timedelta(seconds=9))
    await house.gate.give_back(permit)
    assert house.rationing.asked == [(KEY, 300)] * 2
    assert house.rationing.back == [permit]
