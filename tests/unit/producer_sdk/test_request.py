import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.errors import InvalidRequest
from producer_sdk.request import MAX_BODY_BYTES, Request, whole_body
from producer_sdk.wire import CompletionRequest, Dedupe, Priority

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CHAT = Request.chat(tier="standard", model="m", messages=[{"role": "user", "content": "hi"}])


def submission(request: Request) -> CompletionRequest:
    return request.submission("s1", reply_to="app.client", now=NOW)


@given(st.binary(max_size=200))
def test_raw_bytes_are_never_changed(body: bytes) -> None:
    assert submission(Request(tier="standard", body=body)).body == body


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_a_mapping_becomes_the_same_json(body: dict[str, Any]) -> None:
    body.pop("stream", None)
    assert json.loads(submission(Request(tier="standard", body=body)).body) == body


def test_what_a_submission_says_survives_the_wire() -> None:
    request = replace(
        CHAT, priority="high", deadline=timedelta(minutes=2), idempotency_key="k", dedupe="cache"
    )
    sent = submission(request)
    assert CompletionRequest.parse(sent.envelope(), sent.body) == sent
    assert sent.priority == Priority.HIGH
    assert sent.deadline == NOW + timedelta(minutes=2)
    assert sent.dedupe is Dedupe.CACHE


def test_treatment_left_out_is_left_to_the_tier() -> None:
    sent = submission(CHAT)
    assert (sent.deadline, sent.dedupe, sent.idempotency_key) == (None, None, None)
    assert sent.priority == Priority.NORMAL


@pytest.mark.parametrize(
    ("request_", "path", "body"),
    [
        (
            CHAT,
            "/v1/chat/completions",
            {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        ),
        (
            Request.completion(tier="t", model="m", prompt="p", max_tokens=3),
            "/v1/completions",
            {"model": "m", "prompt": "p", "max_tokens": 3},
        ),
        (
            Request.embedding(tier="t", model="m", texts=["a"]),
            "/v1/embeddings",
            {"model": "m", "input": ["a"]},
        ),
    ],
)
def test_each_api_has_its_path_and_body(request_: Request, path: str, body: object) -> None:
    sent = submission(request_)
    assert sent.path == path
    assert json.loads(sent.body) == body


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"body": {"model": "m", "stream": True}}, "stream"),
        ({"body": b'{"model": "m", "stream": true}'}, "stream"),
        ({"body": {"model": float("nan")}}, "JSON"),
        ({"body": {"model": object()}}, "JSON"),
        ({"body": b"x" * (MAX_BODY_BYTES + 1)}, "bytes"),
        ({"tier": "a.b"}, "tier"),
        ({"tier": ""}, "tier"),
        ({"lane": "fast"}, "interactive, bulk"),
        ({"priority": "urgent"}, "low, normal, high"),
        ({"priority": 5}, "low, normal, high"),
        ({"priority": None}, "priority: .*low, normal, high"),
        ({"priority": True}, "priority: .*low, normal, high"),
        ({"priority": [1]}, "priority: .*low, normal, high"),
        ({"tier": 3}, "tier: must be 1 to 64 characters"),
        ({"tier": None}, "tier: must be 1 to 64 characters"),
        ({"lane": None}, "lane: must be one of interactive, bulk"),
        ({"lane": []}, "lane: must be one of interactive, bulk"),
        ({"dedupe": 3}, "dedupe: must be one of"),
        ({"path": None}, "path: "),
        ({"path": ["/v1"]}, "path: "),
        ({"idempotency_key": 7}, "idempotency_key: .*string"),
        ({"idempotency_key": "\ud800"}, "idempotency_key: "),
        ({"deadline": 5}, "deadline: must be a timedelta"),
        ({"deadline": 5.0}, "deadline: must be a timedelta"),
        ({"deadline": "2026-11-26"}, "deadline: must be a timedelta"),
        ({"deadline": NOW.date()}, "deadline: must be a timedelta"),
        ({"body": None}, "body: must be bytes, or a mapping"),
        ({"body": [1]}, "body: must be bytes, or a mapping"),
        ({"body": "text"}, "body: must be bytes, or a mapping"),
        ({"body": {"model": "m", "messages": {1, 2}}}, "messages: .*JSON"),
        ({"body": {"model": "m", "messages": [b"x"]}}, "messages: .*JSON"),
        ({"body": {"model": "m", "messages": ["\ud800"]}}, "messages: .*JSON"),
        ({"body": {"model": "m", "temperature": float("inf")}}, "temperature: .*JSON"),
        ({"body": {("a", "b"): 1}}, "body: the names of its fields"),
        ({"dedupe": "maybe"}, "off, inflight, cache"),
        ({"path": "/v1/images"}, "path"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"deadline": NOW.replace(tzinfo=None)}, "aware"),
        ({"deadline": timedelta.max}, "9998"),
        ({"deadline": datetime(9999, 6, 1, tzinfo=UTC)}, "9998"),
    ],
)
def test_a_broken_rule_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        submission(replace(CHAT, **change))


@pytest.mark.parametrize(
    "body", [b'{"stream": false}', b'{"model": "\\"stream\\""}', b'["stream"]', b'{"stream": tru']
)
def test_raw_bytes_that_do_not_ask_to_stream_pass(body: bytes) -> None:
    assert submission(replace(CHAT, body=body)).body == body


def test_an_error_never_holds_the_content() -> None:
    with pytest.raises(InvalidRequest) as error:
        submission(replace(CHAT, path="/canary", idempotency_key="canary" * 100))  # type: ignore[arg-type]  # the point
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(("body", "params"), [(b"{}", {"model": "m"}), (None, {})])
def test_a_body_is_given_once(body: bytes | None, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="body"):
        whole_body(body, params)
