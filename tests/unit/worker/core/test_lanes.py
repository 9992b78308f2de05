from datetime import UTC, datetime

from worker.core.lanes import NO_ORDERS, Closed, LaneRules, Orders, closed, under
from worker.core.windows import Window

NIGHT = Window.parse("22:00-06:00 UTC")
RULES = LaneRules(concurrency=4, per_minute=300, windows=(NIGHT,))
NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def test_without_orders_the_configuration_holds() -> None:
    assert under(RULES, NO_ORDERS) == RULES


def test_each_order_replaces_its_part_alone() -> None:
    assert under(RULES, Orders(concurrency=9)).concurrency == 9
    assert under(RULES, Orders(per_minute=0)).per_minute == 0
    assert under(RULES, Orders(windows=())).windows == ()
    assert under(RULES, Orders(concurrency=9)).windows == (NIGHT,)


def test_a_lane_is_closed_outside_its_windows_until_they_open() -> None:
    assert closed(RULES, NO_ORDERS, NOON) == Closed(
        reason="outside its windows", until=NOON.replace(hour=22)
    )
    assert closed(RULES, NO_ORDERS, NOON.replace(hour=23)) is None


def test_a_paused_lane_is_closed_inside_its_windows_too_and_nobody_knows_until_when() -> None:
    shut = closed(RULES, Orders(paused=True, reason="until noon"), NOON.replace(hour=23))
    assert shut == Closed(reason="until noon", until=None)
