from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.parking import LEVELS, SHORTEST, hop, spread

WAITS = st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=30))


@pytest.mark.parametrize(
    ("remaining_s", "level", "ttl_s"),
    [
        (-5, "2s", 0.05),
        (0, "2s", 0.05),
        (0.3, "2s", 0.3),
        (1.59, "2s", 1.59),
        (2, "2s", 2),
        (7.9, "2s", 2),
        (8, "10s", 8),
        (10, "10s", 10),
        (47, "10s", 10),
        (48, "1m", 48),
        (239, "1m", 60),
        (240, "5m", 240),
        (1439, "5m", 300),
        (1440, "30m", 1440),
        (86400, "30m", 1800),
    ],
)
def test_a_wait_takes_the_level_that_the_table_says(
    remaining_s: float, level: str, ttl_s: float
) -> None:
    chosen = hop(timedelta(seconds=remaining_s))
    assert (chosen.level.name, chosen.ttl.total_seconds()) == (level, ttl_s)


@given(WAITS)
def test_a_ttl_is_positive_and_never_above_its_levels(remaining: timedelta) -> None:
    chosen = hop(remaining)
    assert timedelta(0) < chosen.ttl <= chosen.level.ttl


@given(WAITS)
def test_a_hop_is_never_longer_than_what_remains(remaining: timedelta) -> None:
    assert hop(remaining).ttl <= max(remaining, SHORTEST)


@given(WAITS)
def test_only_a_wait_too_short_for_any_queue_has_a_ttl_far_below_its_queues(
    remaining: timedelta,
) -> None:
    chosen = hop(remaining)
    assert chosen.ttl >= 0.8 * chosen.level.ttl or remaining < 0.8 * LEVELS[0].ttl


@given(WAITS)
def test_hopping_ends_after_a_bounded_number_of_hops(remaining: timedelta) -> None:
    bound = max(0, remaining // LEVELS[-1].ttl) + 5 * len(LEVELS)
    hops = 0
    while remaining > timedelta(0):
        remaining -= hop(remaining).ttl
        hops += 1
        assert hops <= bound


@given(WAITS, st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_spread_wait_lies_between_four_fifths_and_the_whole(
    after: timedelta, chance: float
) -> None:
    low, high = sorted((0.8 * after, after))
    slack = timedelta(microseconds=1)
    assert low - slack <= spread(after, chance) <= high + slack


def test_chance_decides_how_far_a_wait_is_spread() -> None:
    after = timedelta(seconds=10)
    assert spread(after, 0) == after
    assert spread(after, 0.5) == timedelta(seconds=9)
