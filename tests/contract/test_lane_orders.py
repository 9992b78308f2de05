"""The port `LaneOrders`: what operators want of the lanes reaches every worker, and stays."""

from dataclasses import replace
from datetime import timedelta

from tests.contract.world import BEGAN, Fleet, Worker
from worker.core.lanes import Orders
from worker.core.windows import Window

ALL = Orders(
    paused=True,
    reason="the provider has trouble",
    concurrency=3,
    per_minute=300,
    windows=(
        Window.parse("22:00-06:00 Europe/Berlin, Mon-Fri"),
        Window.parse("00:00-24:00, Sat,Sun"),
    ),
)


async def test_at_first_there_are_none(worker: Worker) -> None:
    assert await worker.lane_orders.orders() == {}


async def test_orders_reach_every_worker_as_they_were_given(fleet: Fleet, worker: Worker) -> None:
    other = await fleet.join()
    fleet.order("small.bulk", ALL, now=BEGAN)
    fleet.order("large.bulk", Orders(windows=()), now=BEGAN)
    for each in (worker, other):
        assert await each.lane_orders.orders() == {
            "small.bulk": ALL,
            "large.bulk": Orders(windows=()),
        }


async def test_the_last_order_stands_also_after_a_restart(fleet: Fleet, worker: Worker) -> None:
    fleet.order("small.bulk", ALL, now=BEGAN)
    fleet.order("small.bulk", Orders(), now=BEGAN + timedelta(seconds=1))
    await fleet.kill(worker)
    assert await (await fleet.join()).lane_orders.orders() == {"small.bulk": Orders()}


async def test_orders_given_before_any_worker_are_found(fleet: Fleet) -> None:
    fleet.order("small.bulk", ALL, now=BEGAN)
    assert await (await fleet.join()).lane_orders.orders() == {"small.bulk": ALL}


async def test_a_window_that_means_nothing_here_pauses_its_lane_and_no_other(
    fleet: Fleet, worker: Worker
) -> None:
    fleet.order("small.bulk", ALL, now=BEGAN)
    fleet.order("large.bulk", Orders(concurrency=2), now=BEGAN)
    await fleet.spoil_windows()
    orders = await worker.lane_orders.orders()
    assert orders["small.bulk"].paused
    assert "cannot be read" in (orders["small.bulk"].reason or "")
    assert orders["large.bulk"] == Orders(concurrency=2)


async def test_two_changes_at_once_are_both_kept(fleet: Fleet) -> None:
    fleet.order("small.bulk", Orders(), now=BEGAN)
    fleet.change("small.bulk", lambda orders: replace(orders, paused=True), now=BEGAN)
    fleet.change("small.bulk", lambda orders: replace(orders, concurrency=7), now=BEGAN)
    orders = await (await fleet.join()).lane_orders.orders()
    assert orders["small.bulk"] == Orders(paused=True, concurrency=7)
