from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.wire import Ask, CompletionReply, Envelope, Status, Verb, WireError, job_id

JOB = job_id("billing", "invoice-17")


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("named", [{"job_id": JOB}, {"idempotency_key": "invoice-17"}])
def test_an_ask_comes_back_as_it_was_sent(verb: Verb, named: dict[str, str]) -> None:
    ask = Ask.model_validate({"ask_id": "a1", "verb": verb, "reply_to": "billing.c1"} | named)
    assert Ask.parse(ask.envelope()) == ask


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({}, "name the job"),
        ({"x-warren-job": JOB, "x-warren-key": "k"}, "name the job"),
        ({"x-warren-job": "3f2a91"}, "job_id"),
        ({"x-warren-job": JOB, "x-warren-ask": "delete"}, "verb"),
        ({"x-warren-key": ""}, "idempotency_key"),
        ({"x-warren-key": "k", "x-warren-version": 2}, "version 1"),
    ],
)
def test_an_ask_that_breaks_a_rule_is_refused_and_the_rule_named(
    headers: dict[str, str | int], field: str
) -> None:
    said: dict[str, str | int] = {"x-warren-version": 1, "x-warren-ask": "result"}
    with pytest.raises(WireError, match=field):
        Ask.parse(Envelope(headers=said | headers, correlation_id="a1"))


@given(st.decimals(min_value=0, max_value=10**6, places=12) | st.none())
def test_a_replys_cost_travels_without_rounding(cost: Decimal | None) -> None:
    reply = CompletionReply(
        submission_id="s", job_id=JOB, status=Status.COMPLETED, body=b"{}", cost=cost
    )
    assert CompletionReply.parse(reply.envelope(), b"{}").cost == cost


@pytest.mark.parametrize("cost", ["-1", "NaN", "Infinity", "free"])
def test_a_cost_that_is_no_amount_is_refused(cost: str) -> None:
    reply = CompletionReply(submission_id="s", job_id=JOB, status=Status.COMPLETED, body=b"{}")
    envelope = reply.envelope()
    headers = {**envelope.headers, "x-warren-cost": cost}
    with pytest.raises(WireError, match="cost"):
        CompletionReply.parse(Envelope(headers=headers, correlation_id="s"), b"{}")
