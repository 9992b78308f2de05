import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.classify import Break, Shape, kind_of_answer, kind_of_break, short_code
from worker.core.kinds import RULES, Cure, Kind

TRANSIENT = {kind for kind, rule in RULES.items() if rule.cure is Cure.RETRY}

EXPECTED = {
    **dict.fromkeys(range(100, 200), Kind.BAD_RESPONSE),
    **dict.fromkeys(range(200, 300), Kind.BAD_RESPONSE),  # without a readable body
    **dict.fromkeys(range(300, 400), Kind.REDIRECTED),
    **dict.fromkeys(range(400, 500), Kind.INVALID_REQUEST),
    **dict.fromkeys(range(500, 600), Kind.UPSTREAM_ERROR),
    **dict.fromkeys((401, 403), Kind.UNAUTHORIZED),
    402: Kind.QUOTA_EXHAUSTED,
    404: Kind.MODEL_NOT_FOUND,
    408: Kind.TIMEOUT,
    **dict.fromkeys((409, 425), Kind.UPSTREAM_ERROR),
    429: Kind.RATE_LIMITED,
    **dict.fromkeys((503, 529), Kind.OVERLOADED),
}


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_its_kind(status: int) -> None:
    assert kind_of_answer(status) is EXPECTED[status]


@pytest.mark.parametrize("status", [200, 201, 203, 206])
def test_a_readable_completion_is_no_failure(status: int) -> None:
    assert kind_of_answer(status, shape=Shape.COMPLETION) is None


@given(
    st.integers(0, 999).filter(lambda status: status // 100 != 2),
    st.sampled_from(Shape),
    st.none() | st.text(),
)
def test_no_body_makes_a_completion_of_another_status(
    status: int, shape: Shape, code: str | None
) -> None:
    assert kind_of_answer(status, shape=shape, code=code, error_type=code) is not None


@pytest.mark.parametrize("shape", set(Shape) - {Shape.COMPLETION, Shape.TOO_LARGE})
def test_a_success_without_a_completion_is_a_bad_response(shape: Shape) -> None:
    assert kind_of_answer(200, shape=shape) is Kind.BAD_RESPONSE


def test_a_response_over_the_cap_is_permanent_because_a_second_one_would_be_paid_for() -> None:
    kind = kind_of_answer(200, shape=Shape.TOO_LARGE)
    assert kind is Kind.RESPONSE_TOO_LARGE
    assert RULES[kind].cure is Cure.NONE


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length_exceeded", Kind.CONTEXT_TOO_LONG),
        (400, "string_above_max_length", Kind.CONTEXT_TOO_LONG),
        (413, "context_length_exceeded", Kind.CONTEXT_TOO_LONG),
        (429, "insufficient_quota", Kind.QUOTA_EXHAUSTED),
        (429, "billing_hard_limit_reached", Kind.QUOTA_EXHAUSTED),
        (429, "rate_limit_exceeded", Kind.RATE_LIMITED),
        (403, "model_not_found", Kind.MODEL_NOT_FOUND),
        (403, "content_policy_violation", Kind.INVALID_REQUEST),
        (403, "unsupported_country", Kind.UNAUTHORIZED),
        (500, "insufficient_quota", Kind.UPSTREAM_ERROR),
        (401, "context_length_exceeded", Kind.UNAUTHORIZED),
    ],
)
def test_a_code_sharpens_its_status_whether_it_stands_in_code_or_type(
    status: int, code: str, kind: Kind
) -> None:
    assert kind_of_answer(status, code=code) is kind
    assert kind_of_answer(status, error_type=code) is kind
    assert kind_of_answer(status, code="other", error_type=code) is kind


@pytest.mark.parametrize(
    ("status", "should_retry", "kind"),
    [
        (400, "true", Kind.UPSTREAM_ERROR),
        (422, "true", Kind.UPSTREAM_ERROR),
        (408, "false", Kind.INVALID_REQUEST),
        (409, "false", Kind.INVALID_REQUEST),
        (425, "false", Kind.INVALID_REQUEST),
        (400, "false", Kind.INVALID_REQUEST),
        (409, "true", Kind.UPSTREAM_ERROR),
        (500, "false", Kind.UPSTREAM_ERROR),
        (503, "false", Kind.OVERLOADED),
        (429, "false", Kind.RATE_LIMITED),
        (401, "true", Kind.UNAUTHORIZED),
        (404, "true", Kind.MODEL_NOT_FOUND),
        (302, "true", Kind.REDIRECTED),
        (400, "maybe", Kind.INVALID_REQUEST),
    ],
)
def test_should_retry_moves_only_what_the_status_leaves_open(
    status: int, should_retry: str, kind: Kind
) -> None:
    assert kind_of_answer(status, should_retry=should_retry) is kind


def test_a_prompt_that_is_too_long_stays_too_long_whatever_the_header_says() -> None:
    kind = kind_of_answer(400, code="context_length_exceeded", should_retry="true")
    assert kind is Kind.CONTEXT_TOO_LONG


@pytest.mark.parametrize("broken", Break)
def test_a_call_that_broke_never_ends_the_job_at_once(broken: Break) -> None:
    assert RULES[kind_of_break(broken)].cure in {Cure.RETRY, Cure.WAIT, Cure.OPERATOR}


def test_every_kind_has_a_rule_with_a_message() -> None:
    assert set(RULES) == set(Kind)
    assert all(rule.message for rule in RULES.values())


def test_an_endpoints_fault_never_costs_the_job_an_attempt() -> None:
    for status in (401, 402, 403, 429):
        kind = kind_of_answer(status)
        assert kind is not None
        assert RULES[kind].cure in {Cure.WAIT, Cure.OPERATOR}


def test_every_transient_kind_that_an_upstream_can_cause_is_reached() -> None:
    reached = {kind_of_answer(status) for status in range(100, 600)}
    reached |= {kind_of_break(broken) for broken in Break}
    assert reached >= TRANSIENT


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("context_length_exceeded", "context_length_exceeded"),
        (429, "429"),
        ("a" * 64, "a" * 64),
        ("a" * 65, None),
        ("", None),
        ("two words", None),
        ("line\n", None),
        ("naïve", None),
        (True, None),
        (None, None),
        (10**9, None),
        (["x"], None),
    ],
)
def test_only_short_plain_codes_are_kept(value: object, code: str | None) -> None:
    assert short_code(value) == code
