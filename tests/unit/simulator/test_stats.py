"""The counts: how long answered calls took."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.stats import Stats
from simulator.wire import How


def quantiles(stats: Stats) -> object:
    return stats.snapshot()["seconds"]


@given(seconds=st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_a_quantile_is_the_least_time_that_its_share_of_the_calls_does_not_exceed(
    seconds: list[float],
) -> None:
    stats = Stats()
    for each in seconds:
        stats.call_ended(How.DONE, 200, each)
    told = quantiles(stats)
    assert isinstance(told, dict)
    for share, value in ((0.5, told["p50"]), (0.99, told["p99"])):
        below = [each for each in seconds if each < value]
        assert len([each for each in seconds if each <= value]) >= share * len(seconds)
        assert len(below) < share * len(seconds)


def test_only_calls_that_were_answered_well_have_a_time_and_a_reset_forgets_them() -> None:
    stats = Stats()
    assert quantiles(stats) == {"p50": None, "p99": None}
    stats.call_ended(How.DONE, 503, 9.0)
    stats.call_ended(How.RESET, None, 9.0)
    stats.call_ended(How.DONE, 200, 1.0)
    assert quantiles(stats) == {"p50": 1.0, "p99": 1.0}
    stats.reset()
    assert quantiles(stats) == {"p50": None, "p99": None}
