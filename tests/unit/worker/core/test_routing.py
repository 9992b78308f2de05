import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.upstream.fakes import dice
from worker.core.candidate import Candidate
from worker.core.kinds import RULES, Cure, Kind
from worker.core.latency import Observed
from worker.core.model import Failed
from worker.core.routing import LONGEST_HOLD, Policy, choose, hold_time

RECHECK = timedelta(seconds=15)

seconds = st.floats(0.001, 1000)
candidates = st.lists(
    st.builds(
        Candidate,
        name=st.text("abcdef", min_size=1, max_size=3),
        weight=st.floats(0.001, 1000),
        in_flight=st.integers(0, 100),
        latency_s=st.none() | seconds,
        at_least_s=st.just(0.0) | seconds,
        error_rate=st.floats(0, 1),
        silent_s=st.just(math.inf) | seconds,
        room=st.floats(0, 1),
        taking=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda candidate: candidate.name,
)
policies = st.sampled_from(Policy)
seeds = st.integers(0, 2**32)
names = st.frozensets(st.text("abcdef", min_size=1, max_size=3), max_size=4)


def chosen(
    field: Sequence[Candidate],
    policy: Policy,
    seed: int = 0,
    *,
    turn: int = 0,
    avoid: Collection[str] = (),
) -> int | None:
    dice = random.Random(seed)  # noqa: S311  # repeatable, not secret
    return choose(field, policy=policy, chance=dice.random, turn=turn, avoid=avoid)


@given(candidates, policies, seeds, st.integers(0, 99), names)
def test_the_one_chosen_takes_calls_and_was_not_tried_if_another_was_not(
    field: list[Candidate], policy: Policy, seed: int, turn: int, avoid: frozenset[str]
) -> None:
    index = chosen(field, policy, seed, turn=turn, avoid=avoid)
    taking = [each for each in field if each.taking]
    if index is None:
        assert not taking
        return
    assert field[index].taking
    if any(each.name not in avoid for each in taking):
        assert field[index].name not in avoid


@given(candidates, st.integers(0), names)
def test_the_least_loaded_is_taken_where_only_the_load_counts(
    field: list[Candidate], turn: int, avoid: frozenset[str]
) -> None:
    index = chosen(field, Policy.LEAST_LOAD, turn=turn, avoid=avoid)
    taking = [each for each in field if each.taking]
    ready = [each for each in taking if each.name not in avoid] or taking
    if index is not None:
        assert field[index].in_flight / field[index].weight == min(
            each.in_flight / each.weight for each in ready
        )


def test_equals_take_turns_in_configured_order() -> None:
    idle = [Candidate(name=name) for name in "abc"]
    assert [chosen(idle, Policy.LEAST_LOAD, turn=turn) for turn in range(6)] == [0, 1, 2, 0, 1, 2]


def test_twice_the_weight_gets_twice_the_calls() -> None:
    in_flight = Counter({"small": 0, "large": 0})
    for turn in range(300):
        ends = [
            Candidate(name="small", weight=1, in_flight=in_flight["small"]),
            Candidate(name="large", weight=2, in_flight=in_flight["large"]),
        ]
        index = chosen(ends, Policy.LEAST_LOAD, turn=turn)
        assert index is not None
        in_flight[ends[index].name] += 1
    assert in_flight == {"small": 100, "large": 200}


def test_the_endpoint_that_just_failed_is_taken_when_no_other_is_free() -> None:
    ends = [Candidate(name="a"), Candidate(name="b", taking=False)]
    assert chosen(ends, Policy.PEAK_EWMA, avoid={"a"}) == 0


two_choices = st.sampled_from([Policy.EWMA, Policy.PEAK_EWMA])
worse = st.sampled_from(
    [
        lambda each: replace(each, latency_s=(each.latency_s or 0.0) * 3 + 0.001),
        lambda each: replace(each, at_least_s=each.at_least_s * 3 + 1),
        lambda each: replace(each, in_flight=each.in_flight + 1),
        lambda each: replace(each, error_rate=(1 + each.error_rate) / 2),
        lambda each: replace(each, room=each.room / 3),
    ]
)
Worse = Callable[[Candidate], Candidate]


@given(candidates, policies, seeds)
def test_the_same_chance_gives_the_same_choice(
    field: list[Candidate], policy: Policy, seed: int
) -> None:
    assert chosen(field, policy, seed) == chosen(field, policy, seed)


def known(each: Candidate) -> Candidate:
    """Give it with a mean that says all of its latency.

    Where a call that is under way says more, a longer mean makes not it worse, but those of which nothing is known:
    they are reckoned to be as good as the best mean.
    """
    return replace(each, latency_s=max(each.latency_s or 1.0, each.at_least_s))


@given(candidates, two_choices, seeds, st.integers(0, 5), worse)
def test_of_two_choices_an_endpoint_that_is_worse_never_gets_a_call_that_it_did_not_get_before(
    field: list[Candidate], policy: Policy, seed: int, number: int, worsen: Worse
) -> None:
    before = chosen(field, policy, seed)
    if before is None:
        return
    index = number % len(field)
    field[index] = worsen(known(field[index]))
    better = list(field)
    field[index] = worsen(field[index])
    if chosen(better, policy, seed) != index:
        assert chosen(field, policy, seed) != index


@given(candidates, st.integers(0, 5), worse)
def test_of_the_best_three_an_endpoint_that_is_worse_never_gets_more(
    field: list[Candidate], number: int, worsen: Worse
) -> None:
    if not field:
        return
    index = number % len(field)
    field[index] = known(field[index])

    def count() -> int:
        throws = [throw / 200 for throw in range(200)]
        return sum(
            choose(field, policy=Policy.BLEND, chance=lambda: throw) == index  # noqa: B023  # called at once
            for throw in throws
        )

    before = count()
    field[index] = worsen(field[index])
    assert count() <= before + 1  # a throw may lie on the edge


def counted(
    fields: Callable[[], Sequence[Candidate]], policy: Policy, *, calls: int = 4000
) -> Counter[int]:
    dice = random.Random(1)  # noqa: S311  # repeatable, not secret
    return Counter(
        index
        for _ in range(calls)
        if (index := choose(fields(), policy=policy, chance=dice.random)) is not None
    )


@pytest.mark.parametrize("weights", [(1, 2, 3), (1, 1), (1, 10), (5, 1, 1, 1, 1, 1)])
@pytest.mark.parametrize("policy", [Policy.EWMA, Policy.PEAK_EWMA])
def test_equals_get_what_their_weights_say(policy: Policy, weights: tuple[int, ...]) -> None:
    equals = [Candidate(name=str(n), weight=w, latency_s=1) for n, w in enumerate(weights)]
    counts = counted(lambda: equals, policy)
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert counts[index] / 4000 == pytest.approx(share, abs=5 * math.sqrt(share / 4000))


@pytest.mark.parametrize("weights", [(1, 2, 3), (1, 10), (5, 1, 1, 1, 1, 1)])
def test_what_differs_by_chance_does_not_move_calls_from_heavy_to_light_endpoints(
    weights: tuple[int, ...],
) -> None:
    noise = random.Random(2)  # noqa: S311  # repeatable, not secret
    counts = counted(
        lambda: [
            Candidate(name=str(n), weight=w, latency_s=noise.uniform(0.7, 1.4))
            for n, w in enumerate(weights)
        ],
        Policy.EWMA,
    )
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert counts[index] / 4000 == pytest.approx(share, abs=5 * math.sqrt(share / 4000))


@given(seeds, two_choices, st.floats(0.4, 1), st.integers(0, 4))
def test_failing_fast_draws_no_calls_from_endpoints_that_are_busy(
    seed: int, policy: Policy, error_rate: float, in_flight: int
) -> None:
    field = [
        Candidate(name="busy", latency_s=1, in_flight=in_flight),
        Candidate(name="failing", latency_s=1, error_rate=error_rate),
    ]
    assert chosen(field, policy, seed) == 0


def test_failing_fast_gets_less_of_the_blend_too() -> None:
    field = [
        Candidate(name="busy", latency_s=1, in_flight=4),
        Candidate(name="failing", latency_s=1, error_rate=0.5),
    ]
    assert counted(lambda: field, Policy.BLEND)[1] < 4000 * 0.2


@given(seeds, two_choices, seconds, st.floats(0, 1))
def test_nobody_starves_what_was_seen_long_ago_counts_for_nothing(
    seed: int, policy: Policy, latency_s: float, error_rate: float
) -> None:
    best = Candidate(name="best", latency_s=0.01, silent_s=600)
    other = Candidate(name="other", latency_s=latency_s, error_rate=error_rate, silent_s=600)
    equal = [best, replace(best, name="other")]
    assert chosen([best, other], policy, seed) == chosen(equal, policy, seed)


@given(seeds, two_choices, st.floats(600, 900))
def test_the_look_at_a_slow_endpoint_is_one_call_at_a_time(
    seed: int, policy: Policy, now: float
) -> None:
    slow, fast = Observed(), Observed()
    slow.began(0)
    slow.ended(seconds=30, failed=False, at=30)
    fast.began(now - 2)
    fast.ended(seconds=1, failed=False, at=now - 1)

    def at(known: Observed, name: str, in_flight: int) -> Candidate:
        return Candidate.of(known, peak=False, now=now, name=name, weight=1, in_flight=in_flight)

    assert counted(lambda: [at(fast, "fast", 1), at(slow, "slow", 0)], policy, calls=100)[1] > 20
    slow.began(now)
    looked_at = [at(fast, "fast", 1), at(slow, "slow", 1)]
    assert chosen(looked_at, policy, seed) == 0


@pytest.mark.parametrize("in_flight", [1, 2, 20])
@pytest.mark.parametrize("policy", [Policy.EWMA, Policy.PEAK_EWMA])
def test_a_fresh_endpoint_is_not_overrun(policy: Policy, in_flight: int) -> None:
    field = [
        Candidate(name="known", latency_s=5, in_flight=in_flight),
        Candidate(name="fresh", in_flight=in_flight),
    ]
    counts = counted(lambda: field, policy, calls=200)
    assert counts[0] > counts[1]


@given(seeds, two_choices)
def test_an_endpoint_that_answers_nothing_is_left_before_its_calls_time_out(
    seed: int, policy: Policy
) -> None:
    hanging = Observed()
    hanging.ended(seconds=1, failed=False, at=1)
    hanging.began(2)
    field = [
        Candidate(name="sound", latency_s=1, in_flight=1),
        Candidate.of(hanging, peak=False, now=6, name="hanging", weight=1, in_flight=1),
    ]
    assert chosen(field, policy, seed) == 0


@given(seeds, two_choices)
def test_a_limit_that_is_nearly_used_up_is_left_to_the_end(seed: int, policy: Policy) -> None:
    field = [
        Candidate(name="open", latency_s=1, in_flight=2),
        Candidate(name="limited", latency_s=1, room=0.05),
    ]
    assert chosen(field, policy, seed) == 0


@pytest.mark.parametrize(
    ("kind", "asked_s", "in_a_row", "expected_s"),
    [
        (Kind.RATE_LIMITED, None, 0, None),
        (Kind.RATE_LIMITED, 0, 0, None),
        (Kind.RATE_LIMITED, 7, 0, 7),
        (Kind.RATE_LIMITED, 7, 5, 7),
        (Kind.RATE_LIMITED, 3600, 0, 300),
        (Kind.UNAUTHORIZED, None, 0, 15),
        (Kind.UNAUTHORIZED, None, 1, 30),
        (Kind.UNAUTHORIZED, None, 4, 240),
        (Kind.UNAUTHORIZED, None, 5, 300),
        (Kind.UNAUTHORIZED, None, 10**9, 300),
        (Kind.QUOTA_EXHAUSTED, 60, 0, 60),
        (Kind.QUOTA_EXHAUSTED, 1, 0, 15),
    ],
)
def test_a_refusal_holds_for_what_was_asked_and_a_bad_key_for_longer_each_time(
    kind: Kind, asked_s: int | None, in_a_row: int, expected_s: int | None
) -> None:
    asked = None if asked_s is None else timedelta(seconds=asked_s)
    held = hold_time(Failed(kind=kind, retry_after=asked), in_a_row=in_a_row, recheck=RECHECK)
    assert held == (None if expected_s is None else timedelta(seconds=expected_s))


@given(st.sampled_from(Kind), st.none() | st.timedeltas(timedelta(), timedelta(hours=1)))
def test_only_refusals_hold_an_endpoint_and_never_for_longer_than_five_minutes(
    kind: Kind, asked: timedelta | None
) -> None:
    held = hold_time(Failed(kind=kind, retry_after=asked), in_a_row=3, recheck=RECHECK)
    if RULES[kind].cure in {Cure.WAIT, Cure.OPERATOR}:
        assert held is None or timedelta() < held <= LONGEST_HOLD
    else:
        assert held is None


@given(seeds, st.lists(st.sampled_from([None, 0.01, 0.02, 0.5]), min_size=1, max_size=6))
def test_by_price_only_the_cheapest_of_those_that_take_calls_are_chosen(
    seed: int, prices: list[float | None]
) -> None:
    field = [
        Candidate(name=str(index), price=price, latency_s=1 + index)
        for index, price in enumerate(prices)
    ]
    index = choose(field, policy=Policy.CHEAPEST, chance=dice(seed))
    assert index is not None
    known = [price for price in prices if price is not None]
    assert prices[index] == (min(known) if known else None)


def test_by_price_the_next_cheaper_one_takes_what_the_cheapest_does_not() -> None:
    field = [
        Candidate(name="dear", price=2.0),
        Candidate(name="cheap", price=1.0, taking=False),
        Candidate(name="unknown"),
        Candidate(name="tried", price=0.5),
    ]
    assert choose(field, policy=Policy.CHEAPEST, chance=dice(1), avoid={"tried"}) == 0
