import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    SubmissionRefused,
    UnexpectedBody,
)
from producer_sdk.reply import Reply, Usage, read
from producer_sdk.wire import CompletionReply, ReplyError, Source, Status, error_body

COST = Decimal("0.00000042")


def completed(body: bytes | dict[str, Any], **fields: Any) -> Reply:  # noqa: ANN401 - any of the reply's fields
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    wire = CompletionReply(
        submission_id="s1", job_id="j1", status=Status.COMPLETED, body=data, **fields
    )
    reply = read(wire)
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}, "a"),
        ({"choices": [{"text": "plain"}]}, "plain"),
        (
            {"choices": [{"message": {"content": [{"type": "text", "text": "x"}, {"text": "y"}]}}]},
            "xy",
        ),
        ({"choices": [{"message": {"content": ""}}]}, ""),
    ],
)
def test_text_is_the_first_choices(body: dict[str, Any], text: str) -> None:
    assert completed(body).text == text


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [{"message": {"content": None, "tool_calls": [{}]}}]},
        {"data": [{"embedding": [0.5]}]},
        [],
        None,
    ],
)
def test_a_reply_without_text_says_so(body: Any) -> None:  # noqa: ANN401 - any JSON
    with pytest.raises(UnexpectedBody, match="j1"):
        _ = completed(json.dumps(body).encode()).text


@given(st.binary())
def test_any_body_is_read_or_refused_with_the_typed_error(body: bytes) -> None:
    reply = completed(body)
    for field in ("text", "usage", "model"):
        try:
            getattr(reply, field)
        except UnexpectedBody:
            continue
    assert reply.body == body


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, (3, 4, 7)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, 0, 3)),
        ({"prompt_tokens": "3", "total_tokens": 3}, None),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 3}, None),
        (None, None),
    ],
)
def test_usage_is_told_or_none(usage: object, expected: tuple[int, int, int] | None) -> None:
    found = completed({"usage": usage}).usage
    if expected is None:
        assert found is None
    else:
        assert found == Usage(
            prompt_tokens=expected[0], completion_tokens=expected[1], total_tokens=expected[2]
        )


def test_the_circumstances_of_a_reply_are_told() -> None:
    reply = completed(
        {"model": "m-1"},
        source=Source.SHARED,
        endpoint="e",
        run=2,
        attempts=3,
        waited_ms=10,
        upstream_ms=20,
        total_ms=30,
    )
    assert (reply.model, reply.endpoint, reply.run, reply.attempts) == ("m-1", "e", 2, 3)
    assert reply.timings.total == timedelta(milliseconds=30)
    assert reply.usage is None


@pytest.mark.parametrize(
    ("source", "cached"),
    [(Source.UPSTREAM, False), (Source.CACHE, True), (Source.SHARED, True), (Source.NONE, False)],
)
def test_cached_means_that_no_call_was_made_for_it(source: Source, *, cached: bool) -> None:
    assert completed({}, source=source).cached is cached


def test_json_is_a_fresh_copy_each_time() -> None:
    reply = completed({"model": "m"})
    reply.json()["model"] = "changed"
    assert reply.model == "m"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.DEAD_LETTERED, JobFailed),
        (Status.EXPIRED, JobExpired),
        (Status.CANCELLED, JobCancelled),
        (Status.REFUSED, SubmissionRefused),
    ],
)
def test_every_ending_has_its_error(status: Status, kind: type[JobError]) -> None:
    body = error_body(ReplyError(kind="why", message="it broke", status=500, code="oops"))
    wire = CompletionReply(
        submission_id="s1", job_id="j1", status=status, body=body, run=2, attempts=4, cost=COST
    )
    error = read(wire)
    assert error.cost == COST
    assert type(error) is kind
    assert (error.submission_id, error.job_id, error.run, error.attempts) == ("s1", "j1", 2, 4)
    assert (error.kind, error.status, error.code) == ("why", 500, "oops")
    for fact in ("s1", "j1", "it broke", "why", "500", "oops"):
        assert fact in str(error)


def test_every_status_is_read() -> None:
    body = error_body(ReplyError(kind="k", message="m"))
    for status in Status:
        read(CompletionReply(submission_id="s", job_id="j", status=status, body=body))


def test_a_dead_letter_says_how_to_look_at_it() -> None:
    body = error_body(ReplyError(kind="k", message="m"))
    wire = CompletionReply(submission_id="s", job_id="j1", status=Status.DEAD_LETTERED, body=body)
    assert "warren dead show j1" in str(read(wire))


def test_a_job_without_money_has_an_error_of_its_own() -> None:
    body = error_body(ReplyError(kind="budget_exceeded", message="no room"))
    error = read(CompletionReply(submission_id="s", job_id="j", status=Status.REFUSED, body=body))
    assert type(error) is BudgetExceeded
    assert "when the budget has room" in str(error)


def test_an_expiry_is_a_deadline_exceeded_and_a_timeout() -> None:
    assert issubclass(JobExpired, DeadlineExceeded)
    assert issubclass(DeadlineExceeded, TimeoutError)


def test_an_ending_whose_reason_cannot_be_read_is_told_all_the_same() -> None:
    wire = CompletionReply(
        submission_id="s", job_id="j", status=Status.DEAD_LETTERED, body=b"canary"
    )
    error = read(wire)
    assert isinstance(error, JobFailed)
    assert error.kind == "unreadable"
    assert "canary" not in str(error)
