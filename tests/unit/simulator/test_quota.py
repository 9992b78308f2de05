"""The limits of a key, against a slow model that remembers everything."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.quota import MINUTE_NS, LimitError, Limits, Quota, Refused, Taken, Window

SECOND_NS = 10**9
# Instants close together, minutes apart, and on the very edge of a minute.
STEPS_NS = st.one_of(
    st.integers(0, 3 * SECOND_NS),
    st.sampled_from([0, 1, MINUTE_NS - 1, MINUTE_NS, MINUTE_NS + 1]),
    st.integers(0, 2 * MINUTE_NS),
)


@dataclass(slots=True)
class Remembered:
    """What a window should say, found by looking at everything that was ever charged."""

    charges: list[list[int]] = field(default_factory=list)

    def used(self, now_ns: int) -> int:
        return sum(amount for at, amount in self.charges if now_ns - MINUTE_NS < at <= now_ns)


@given(
    limit=st.integers(1, 6),
    steps=st.lists(STEPS_NS, max_size=60),
)
def test_no_minute_has_more_accepted_requests_than_the_limit(limit: int, steps: list[int]) -> None:
    quota, now_ns, accepted = Quota(), 0, list[int]()
    for step in steps:
        now_ns += step
        if isinstance(quota.take(Limits(requests=limit), 0, now_ns), Taken):
            accepted.append(now_ns)
    for at in accepted:
        assert sum(at - MINUTE_NS < other <= at for other in accepted) <= limit


@given(
    limit=st.integers(1, 50),
    calls=st.lists(st.tuples(STEPS_NS, st.integers(0, 60)), max_size=60),
)
def test_no_minute_has_more_accepted_tokens_than_the_limit(
    limit: int, calls: list[tuple[int, int]]
) -> None:
    quota, now_ns, seen = Quota(), 0, Remembered()
    for step, tokens in calls:
        now_ns += step
        if isinstance(quota.take(Limits(tokens=limit), tokens, now_ns), Taken):
            seen.charges.append([now_ns, tokens])
            assert seen.used(now_ns) <= limit


@given(
    limits=st.builds(
        Limits,
        requests=st.none() | st.integers(1, 6),
        tokens=st.none() | st.integers(1, 50),
    ),
    calls=st.lists(st.tuples(STEPS_NS, st.integers(0, 60)), max_size=40),
)
def test_a_call_is_refused_only_if_it_does_not_fit_and_exactly_for_as_long(
    limits: Limits, calls: list[tuple[int, int]]
) -> None:
    quota, now_ns = Quota(), 0
    requests, tokens_seen = Remembered(), Remembered()

    def fits(tokens: int, at_ns: int) -> bool:
        return (limits.requests is None or requests.used(at_ns) + 1 <= limits.requests) and (
            limits.tokens is None or tokens_seen.used(at_ns) + tokens <= limits.tokens
        )

    for step, tokens in calls:
        now_ns += step
        found = quota.take(limits, tokens, now_ns)
        assert isinstance(found, Taken) == fits(tokens, now_ns)
        if isinstance(found, Taken):
            requests.charges.append([now_ns, 1])
            tokens_seen.charges.append([now_ns, tokens])
        elif found.wait_ns is None:
            assert limits.tokens is not None
            assert tokens > limits.tokens
        else:
            assert fits(tokens, now_ns + found.wait_ns)
            assert not fits(tokens, now_ns + found.wait_ns - 1)


@given(calls=st.lists(st.tuples(STEPS_NS, st.integers(0, 20), st.none() | st.integers(0, 60))))
def test_what_is_left_and_when_it_is_all_left_again_is_told_rightly_whatever_was_used(
    calls: list[tuple[int, int, int | None]],
) -> None:
    limits, quota, now_ns, seen = Limits(requests=1000, tokens=500), Quota(), 0, Remembered()
    for step, tokens, really in calls:
        now_ns += step
        taken = quota.take(limits, tokens, now_ns)
        if isinstance(taken, Taken):
            seen.charges.append([now_ns, tokens])
            if really is not None:
                quota.settle(taken, really, now_ns)
                seen.charges[-1][1] = really
        _, told = quota.standings(limits, now_ns)
        assert told.left == max(0, 500 - seen.used(now_ns))
        assert seen.used(now_ns + told.empty_in_ns) == 0
        assert told.empty_in_ns <= MINUTE_NS


@given(
    charges=st.lists(st.tuples(STEPS_NS, st.integers(1, 20)), min_size=1, max_size=30),
)
def test_the_largest_minute_is_the_largest_there_was(charges: list[tuple[int, int]]) -> None:
    window, now_ns, seen, most = Window(), 0, Remembered(), 0
    for step, amount in charges:
        now_ns += step
        window.charge(amount, now_ns)
        seen.charges.append([now_ns, amount])
        most = max(most, seen.used(now_ns))
    assert window.most == most


def test_what_an_old_call_used_is_settled_without_harming_the_minute_after_it() -> None:
    limits, quota = Limits(tokens=100), Quota()
    old = quota.take(limits, 100, 0)
    assert isinstance(old, Taken)
    assert isinstance(quota.take(limits, 60, MINUTE_NS), Taken)
    quota.settle(old, 5, MINUTE_NS)
    (told,) = quota.standings(limits, MINUTE_NS)
    assert told.left == 40


def test_usage_beyond_what_was_asked_counts_too_and_leaves_no_less_than_nothing() -> None:
    limits, quota = Limits(tokens=100), Quota()
    taken = quota.take(limits, 10, 0)
    assert isinstance(taken, Taken)
    quota.settle(taken, 150, SECOND_NS)
    (told,) = quota.standings(limits, SECOND_NS)
    assert told.left == 0
    refused = quota.take(limits, 1, SECOND_NS)
    assert isinstance(refused, Refused)
    assert refused.wait_ns == MINUTE_NS - SECOND_NS


def test_of_two_limits_that_keep_a_call_out_the_longer_one_is_named() -> None:
    limits, quota = Limits(requests=2, tokens=100), Quota()
    quota.take(limits, 10, 0)
    quota.take(limits, 90, SECOND_NS)
    refused = quota.take(limits, 50, 2 * SECOND_NS)
    assert isinstance(refused, Refused)
    assert (refused.what, refused.wait_ns) == ("tokens", MINUTE_NS - SECOND_NS)
    assert quota.refused == {"tokens": 1}


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "600"])
def test_a_limit_that_is_no_number_of_calls_is_refused(wrong: int) -> None:
    with pytest.raises(LimitError, match="whole number above 0"):
        Limits(requests=wrong)
