from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.kinds import RULES, Cure, Kind
from worker.core.model import Failed
from worker.core.quick import LIMIT, TryPolicy, pause_before_next_try, verdict

POLICY = TryPolicy(tries=3, base_s=0.2, cap_s=1.0)

hints = st.none() | st.timedeltas(timedelta(), timedelta(hours=1))
failures = st.builds(Failed, kind=st.sampled_from(Kind), retry_after=hints)
chances = st.floats(0, 1, exclude_max=True)
policies = st.tuples(st.integers(1, 9), st.floats(0, 2), st.floats(0, 2)).map(
    lambda of: TryPolicy(tries=of[0], base_s=min(of[1:]), cap_s=max(of[1:]))
)
tried = st.integers(1, 5000)


def failed(kind: Kind, seconds: float | None = None) -> Failed:
    return Failed(kind=kind, retry_after=None if seconds is None else timedelta(seconds=seconds))


@given(failed=failures, tried=tried, policy=policies, chance=chances, elsewhere=st.booleans())
def test_a_pause_is_never_negative_and_never_above_two_seconds(
    *, failed: Failed, tried: int, policy: TryPolicy, chance: float, elsewhere: bool
) -> None:
    pause = pause_before_next_try(failed, tried, policy, chance, elsewhere=elsewhere)
    assert pause is None or timedelta() <= pause <= LIMIT


@given(failed=failures, tried=tried, policy=policies, chance=chances, elsewhere=st.booleans())
def test_an_attempt_never_has_more_tries_than_its_policy(
    *, failed: Failed, tried: int, policy: TryPolicy, chance: float, elsewhere: bool
) -> None:
    pause = pause_before_next_try(failed, tried, policy, chance, elsewhere=elsewhere)
    assert pause is None or tried < policy.tries


@given(failures, policies, chances)
def test_no_pause_is_shorter_than_what_the_only_endpoint_asked_for(
    failed: Failed, policy: TryPolicy, chance: float
) -> None:
    pause = pause_before_next_try(failed, 1, policy, chance)
    assert pause is None or failed.retry_after is None or pause >= failed.retry_after


@given(st.sampled_from(Kind), tried, chances, hints)
def test_only_a_transient_failure_or_a_hinted_refusal_is_tried_again_at_the_only_endpoint(
    kind: Kind, tried: int, chance: float, hint: timedelta | None
) -> None:
    pause = pause_before_next_try(Failed(kind=kind, retry_after=hint), tried, POLICY, chance)
    cure = RULES[kind].cure
    allowed = cure is Cure.RETRY or (cure is Cure.WAIT and hint is not None)
    short = hint is None or hint <= LIMIT
    assert (pause is not None) == (allowed and short and tried < POLICY.tries)


@pytest.mark.parametrize(("tried", "expected"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (40, 0.5)])
def test_the_jittered_backoff_doubles_up_to_its_cap(tried: int, expected: float) -> None:
    policy = TryPolicy(tries=50, base_s=0.2, cap_s=1.0)
    pause = pause_before_next_try(failed(Kind.OVERLOADED), tried, policy, 0.5)
    assert pause == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("kind", "hint_s", "elsewhere", "expected_s"),
    [
        (Kind.RATE_LIMITED, 1.0, False, 1.1),
        (Kind.RATE_LIMITED, 2.0, False, 2.0),
        (Kind.RATE_LIMITED, 2.1, False, None),
        (Kind.RATE_LIMITED, None, False, None),
        (Kind.RATE_LIMITED, 60.0, True, 0.0),
        (Kind.RATE_LIMITED, None, True, 0.0),
        (Kind.UNAUTHORIZED, None, False, None),
        (Kind.UNAUTHORIZED, 1.0, False, None),
        (Kind.UNAUTHORIZED, None, True, 0.0),
        (Kind.QUOTA_EXHAUSTED, 60.0, True, 0.0),
        (Kind.OVERLOADED, 60.0, False, None),
        (Kind.OVERLOADED, 60.0, True, 0.1),
        (Kind.OVERLOADED, 1.0, False, 1.1),
        (Kind.INVALID_REQUEST, None, True, None),
        (Kind.REDIRECTED, 1.0, True, None),
    ],
)
def test_hints_bind_the_endpoint_that_gave_them_and_no_other(
    *, kind: Kind, hint_s: float | None, elsewhere: bool, expected_s: float | None
) -> None:
    pause = pause_before_next_try(failed(kind, hint_s), 1, POLICY, 0.5, elsewhere=elsewhere)
    assert pause == (None if expected_s is None else timedelta(seconds=expected_s))


@pytest.mark.parametrize(
    ("tries", "base_s", "cap_s"), [(0, 0.1, 1), (1, -0.1, 1), (1, 1.5, 1), (1, 0.1, 2.5)]
)
def test_a_policy_that_would_hold_a_delivery_for_long_is_refused(
    tries: int, base_s: float, cap_s: float
) -> None:
    with pytest.raises(ValueError, match=r"try|tries"):
        TryPolicy(tries=tries, base_s=base_s, cap_s=cap_s)


@given(st.lists(failures, min_size=1))
def test_an_attempt_with_a_transient_failure_counts_unless_its_end_is_permanent(
    tries: list[Failed],
) -> None:
    cures = [RULES[failed.kind].cure for failed in tries]
    cure = RULES[verdict(tries).kind].cure
    if cures[-1] in {Cure.NONE, Cure.END}:
        assert cure is cures[-1]
    else:
        assert (cure is Cure.RETRY) == (Cure.RETRY in cures)


@given(st.lists(failures, min_size=1))
def test_an_attempts_wait_is_not_shorter_than_its_last_try_asked_for(tries: list[Failed]) -> None:
    asked, last = verdict(tries).retry_after, tries[-1].retry_after
    assert last is None or (asked is not None and asked >= last)
