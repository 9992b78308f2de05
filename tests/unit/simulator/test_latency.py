import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.latency import (
    AT_ONCE,
    Latencies,
    LatencyError,
    parse_distribution,
    parse_latencies,
    share,
)

SHARES = st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True)


@given(SHARES)
def test_a_fixed_latency_does_not_vary(at: float) -> None:
    assert parse_distribution("fixed(0.25)").at(at) == 0.25


@given(SHARES)
def test_a_uniform_latency_stays_between_its_ends(at: float) -> None:
    assert 0.1 <= parse_distribution("uniform(0.1,0.4)").at(at) <= 0.4


def test_half_of_a_lognormal_latency_lies_below_its_median() -> None:
    assert parse_distribution("lognormal(0.8,0.5)").at(0.5) == pytest.approx(0.8)


def test_one_standard_deviation_multiplies_a_lognormal_latency_by_e_to_sigma() -> None:
    assert parse_distribution("lognormal(1,0.5)").at(0.8413447) == pytest.approx(1.6487, rel=1e-4)


@given(st.integers(), st.integers(), st.integers())
def test_a_share_lies_strictly_inside_0_and_1_and_repeats(seed: int, one: int, two: int) -> None:
    assert 0 < share(seed, one, two) < 1
    assert share(seed, one, two) == share(seed, one, two)


def test_shares_are_spread_evenly() -> None:
    drawn = [share(7, "x", n) for n in range(4000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert sum(at < 0.1 for at in drawn) / len(drawn) == pytest.approx(0.1, abs=0.02)


def test_another_seed_gives_another_series() -> None:
    first, second = (Latencies(default=parse_distribution("uniform(0,1)"), seed=s) for s in (1, 2))
    assert [first.seconds("m", n) for n in range(5)] != [second.seconds("m", n) for n in range(5)]


def test_the_longest_prefix_of_the_model_wins() -> None:
    table = {"default": "fixed(1)", "gpt-": "fixed(2)", "gpt-small": "fixed(3)", "gpt": "fixed(4)"}
    latencies = parse_latencies(table)
    models = ("gpt-small-1", "gpt-large", "gpt", "other", None)
    assert [latencies.seconds(model, 1) for model in models] == [3, 2, 4, 1, 1]


def test_without_a_default_answers_come_at_once() -> None:
    assert parse_latencies({"seed": 3}) == Latencies(default=AT_ONCE, seed=3)


@pytest.mark.parametrize(
    "text",
    [
        *("", "fixed", "fixed()", "fixed(1", "fixed(1,2)", "fixed(-1)", "fixed(inf)", "fixed(nan)"),
        *("uniform(1)", "uniform(2,1)", "lognormal(1)", "gamma(1,2)", "fixed(a)"),
    ],
)
def test_a_wrong_distribution_is_refused(text: str) -> None:
    with pytest.raises(LatencyError):
        parse_distribution(text)


@pytest.mark.parametrize("table", [{"seed": "x"}, {"default": 1}, {"gpt": None}])
def test_a_wrong_table_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(LatencyError):
        parse_latencies(table)
