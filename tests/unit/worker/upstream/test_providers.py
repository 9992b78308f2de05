"""What each provider's refusals mean, in the shapes that they really have; docs/failures.md tells the same."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.classify import kind_of_answer
from worker.core.hints import LONGEST
from worker.core.kinds import RULES, Cure, Kind
from worker.upstream.reading import refusal

CANARY: Final = "CANARY-of-the-prompt"


@dataclass(frozen=True, slots=True)
class Case:
    provider: str
    status: int
    body: object
    kind: Kind
    code: str | None = None
    seconds: float | None = None


def openai(code: str | None, kind: str, message: str = "") -> dict[str, Any]:
    text = f"{message} {CANARY}"
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": f"{message} {CANARY}"}}


def google(status: int, word: str, *details: dict[str, Any], message: str = "") -> list[Any]:
    error = {"code": status, "message": f"{message} {CANARY}", "status": word}
    return [{"error": {**error, "details": list(details)} if details else error}]


def detail(name: str, **values: object) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{name}", **values}


def violation(quota: str, **values: object) -> dict[str, Any]:
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    return {"quotaMetric": metric, "quotaId": quota, **values}


BY_MINUTE = violation("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
BY_DAY = violation("GenerateRequestsPerDayPerProjectPerModel-FreeTier", quotaValue="50")
NOTHING = violation("GenerateContentInputTokensPerModelPerMinute-FreeTier", quotaValue="0")
AGAIN = detail("RetryInfo", retryDelay="45.57857s")

CASES: Final = [
    # OpenAI
    Case("OpenAI", 401, openai("invalid_api_key", "invalid_request_error"), Kind.UNAUTHORIZED, "invalid_api_key"),
    Case("OpenAI", 429, openai("rate_limit_exceeded", "requests"), Kind.RATE_LIMITED, "rate_limit_exceeded"),
    Case("OpenAI", 429, openai("rate_limit_exceeded", "tokens", "Request too large for gpt-4o in organization"), Kind.CONTEXT_TOO_LONG, "rate_limit_exceeded"),
    Case("OpenAI", 429, openai("insufficient_quota", "insufficient_quota"), Kind.QUOTA_EXHAUSTED, "insufficient_quota"),
    Case("OpenAI", 429, openai(None, "billing_not_active"), Kind.QUOTA_EXHAUSTED, "billing_not_active"),
    Case("OpenAI", 400, openai("context_length_exceeded", "invalid_request_error"), Kind.CONTEXT_TOO_LONG, "context_length_exceeded"),
    Case("OpenAI", 404, openai("model_not_found", "invalid_request_error"), Kind.MODEL_NOT_FOUND, "model_not_found"),
    Case("OpenAI", 503, openai(None, "server_error"), Kind.OVERLOADED, "server_error"),
    # Azure
    Case("Azure", 400, {"error": {"code": "content_filter", "status": 400, "message": CANARY, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, Kind.INVALID_REQUEST, "content_filter"),
    Case("Azure", 404, {"error": {"code": "DeploymentNotFound", "message": CANARY}}, Kind.MODEL_NOT_FOUND, "DeploymentNotFound"),
    Case("Azure", 429, {"error": {"code": "429", "message": f"Requests to the operation have exceeded token rate limit {CANARY}"}}, Kind.RATE_LIMITED, "429"),
    Case("Azure", 429, openai("insufficient_quota", "insufficient_quota"), Kind.QUOTA_EXHAUSTED, "insufficient_quota"),
    Case("Azure", 401, {"statusCode": 401, "message": CANARY}, Kind.UNAUTHORIZED),
    Case("Azure", 403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 00:12:34."}, Kind.QUOTA_EXHAUSTED),
    # Anthropic
    Case("Anthropic", 401, anthropic("authentication_error"), Kind.UNAUTHORIZED, "authentication_error"),
    Case("Anthropic", 403, anthropic("permission_error"), Kind.UNAUTHORIZED, "permission_error"),
    Case("Anthropic", 402, anthropic("billing_error"), Kind.QUOTA_EXHAUSTED, "billing_error"),
    Case("Anthropic", 400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."), Kind.QUOTA_EXHAUSTED, "invalid_request_error"),
    Case("Anthropic", 400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), Kind.CONTEXT_TOO_LONG, "invalid_request_error"),
    Case("Anthropic", 400, anthropic("invalid_request_error", "max_tokens: required"), Kind.INVALID_REQUEST, "invalid_request_error"),
    Case("Anthropic", 413, anthropic("request_too_large"), Kind.CONTEXT_TOO_LONG, "request_too_large"),
    Case("Anthropic", 429, anthropic("rate_limit_error"), Kind.RATE_LIMITED, "rate_limit_error"),
    Case("Anthropic", 529, anthropic("overloaded_error"), Kind.OVERLOADED, "overloaded_error"),
    Case("Anthropic", 500, anthropic("overloaded_error"), Kind.OVERLOADED, "overloaded_error"),
    # Gemini
    Case("Gemini", 400, google(400, "INVALID_ARGUMENT", detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")), Kind.UNAUTHORIZED, "API_KEY_INVALID"),
    Case("Gemini", 400, google(400, "INVALID_ARGUMENT", message="API key not valid. Please pass a valid API key."), Kind.UNAUTHORIZED, "INVALID_ARGUMENT"),
    Case("Gemini", 400, google(400, "FAILED_PRECONDITION", message="User location is not supported for the API use."), Kind.UNAUTHORIZED, "FAILED_PRECONDITION"),
    Case("Gemini", 400, google(400, "INVALID_ARGUMENT"), Kind.INVALID_REQUEST, "INVALID_ARGUMENT"),
    Case("Gemini", 400, google(400, "INVALID_ARGUMENT", message="The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), Kind.CONTEXT_TOO_LONG, "INVALID_ARGUMENT"),
    Case("Gemini", 403, google(403, "PERMISSION_DENIED", detail("ErrorInfo", reason="BILLING_DISABLED")), Kind.QUOTA_EXHAUSTED, "BILLING_DISABLED"),
    Case("Gemini", 429, google(429, "RESOURCE_EXHAUSTED", detail("QuotaFailure", violations=[BY_MINUTE]), AGAIN), Kind.RATE_LIMITED, "RESOURCE_EXHAUSTED", 45.57857),
    Case("Gemini", 429, google(429, "RESOURCE_EXHAUSTED", detail("QuotaFailure", violations=[BY_MINUTE, BY_DAY]), detail("Help", links=[]), AGAIN), Kind.QUOTA_EXHAUSTED, "RESOURCE_EXHAUSTED", 45.57857),
    Case("Gemini", 429, google(429, "RESOURCE_EXHAUSTED", detail("QuotaFailure", violations=[NOTHING])), Kind.QUOTA_EXHAUSTED, "RESOURCE_EXHAUSTED"),
    Case("Gemini", 429, google(429, "RESOURCE_EXHAUSTED"), Kind.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
    Case("Gemini", 503, google(503, "UNAVAILABLE"), Kind.OVERLOADED, "UNAVAILABLE"),
    # DeepSeek
    Case("DeepSeek", 402, openai("invalid_request_error", "unknown_error", "Insufficient Balance"), Kind.QUOTA_EXHAUSTED, "invalid_request_error"),
    Case("DeepSeek", 422, openai("invalid_request_error", "invalid_request_error"), Kind.INVALID_REQUEST, "invalid_request_error"),
    # vLLM
    Case("vLLM", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000.", "type": "BadRequestError", "param": None, "code": 400}, Kind.CONTEXT_TOO_LONG, "400"),
    Case("vLLM", 400, {"error": {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequestError", "param": None, "code": 400}}, Kind.CONTEXT_TOO_LONG, "400"),
    Case("vLLM", 404, {"object": "error", "message": CANARY, "type": "NotFoundError", "code": 404}, Kind.MODEL_NOT_FOUND, "404"),
    # OpenRouter
    Case("OpenRouter", 402, {"error": {"code": 402, "message": CANARY}}, Kind.QUOTA_EXHAUSTED, "402"),
    Case("OpenRouter", 403, {"error": {"code": 403, "message": CANARY, "metadata": {"reasons": ["violence"], "flagged_input": CANARY, "provider_name": "x"}}}, Kind.INVALID_REQUEST, "403"),
    Case("OpenRouter", 403, {"error": {"code": 403, "message": "Key limit exceeded (total limit)"}}, Kind.QUOTA_EXHAUSTED, "403"),
    Case("OpenRouter", 403, {"error": {"code": 403, "message": CANARY}}, Kind.UNAUTHORIZED, "403"),
    Case("OpenRouter", 429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add credits", "metadata": {"headers": {"X-RateLimit-Limit": "50"}}}}, Kind.QUOTA_EXHAUSTED, "429"),
    Case("OpenRouter", 429, {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": CANARY}}}, Kind.RATE_LIMITED, "429"),
    # Mistral
    Case("Mistral", 401, {"message": "Unauthorized", "request_id": "x"}, Kind.UNAUTHORIZED),
    Case("Mistral", 400, {"object": "error", "message": f"Invalid model: {CANARY}", "type": "invalid_model", "param": None, "code": "1500"}, Kind.MODEL_NOT_FOUND, "1500"),
    Case("Mistral", 400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}, Kind.CONTEXT_TOO_LONG, "3051"),
    Case("Mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "input": CANARY}]}, Kind.INVALID_REQUEST),
    Case("Mistral", 429, {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": None, "code": "1300", "raw_status_code": 429}, Kind.RATE_LIMITED, "1300"),
    # Groq
    Case("Groq", 400, openai("organization_restricted", "invalid_request_error"), Kind.UNAUTHORIZED, "organization_restricted"),
    Case("Groq", 400, openai("model_decommissioned", "invalid_request_error"), Kind.MODEL_NOT_FOUND, "model_decommissioned"),
    Case("Groq", 413, openai("rate_limit_exceeded", "tokens", "Request too large for model"), Kind.CONTEXT_TOO_LONG, "rate_limit_exceeded"),
    Case("Groq", 429, openai("rate_limit_exceeded", "tokens", "Rate limit reached for model"), Kind.RATE_LIMITED, "rate_limit_exceeded"),
    Case("Groq", 498, openai("capacity_exceeded", "capacity_exceeded"), Kind.OVERLOADED, "capacity_exceeded"),
    # xAI
    Case("xAI", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: sk***YA."}, Kind.UNAUTHORIZED),
    Case("xAI", 400, {"code": "Client specified an invalid argument", "error": CANARY}, Kind.INVALID_REQUEST),
    # LiteLLM
    Case("LiteLLM", 400, {"error": {"message": "Budget has been exceeded! Current cost: 14, Max budget: 10", "type": "auth_error", "param": None, "code": 400}}, Kind.QUOTA_EXHAUSTED, "400"),
    Case("LiteLLM", 429, {"error": {"message": CANARY, "type": "budget_exceeded", "param": None, "code": "429"}}, Kind.QUOTA_EXHAUSTED, "429"),
]  # fmt: skip


def kind_of(status: int, body: object) -> Kind | None:
    said = refusal(json.dumps(body).encode())
    return kind_of_answer(status, code=said.code, error_type=said.error_type, reason=said.reason)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.provider}-{case.status}-{case.kind.value}"
)
def test_every_known_refusal_has_its_kind_its_code_and_its_delay(case: Case) -> None:
    said = refusal(json.dumps(case.body).encode())
    assert kind_of(case.status, case.body) is case.kind
    assert (said.code or said.error_type) == case.code
    expected = None if case.seconds is None else timedelta(seconds=case.seconds)
    assert said.retry_after == expected
    assert CANARY not in repr(said)


@pytest.mark.parametrize(
    "quoted",
    [
        "Your credit balance is too low",
        "Incorrect API key provided",
        "API key not valid",
        "Budget has been exceeded",
        "Key limit exceeded",
        "Out of call volume quota",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422, 429])
def test_a_quoted_prompt_stops_no_endpoint(quoted: str, status: int) -> None:
    for text in (f"Invalid value: '{quoted}'", f"the role {quoted} is unknown", f"'{quoted}'"):
        kind = kind_of(status, openai("invalid_value", "invalid_request_error", text))
        plain = kind_of(status, openai("invalid_value", "invalid_request_error"))
        assert kind is plain


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("error", "details", "@type", "violations", "quotaId", "retryDelay", "reason"),
                    *("metadata", "reasons", "message", "code", "status", "type", "object"),
                )
            ),
            inner
            | st.sampled_from(["google.rpc.QuotaFailure", "x.RetryInfo", "x.ErrorInfo", "9h"]),
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(values, st.integers(400, 599))
def test_no_error_body_raises_or_asks_for_more_than_the_longest_wait(
    body: object, status: int
) -> None:
    said = refusal(json.dumps(body).encode())
    assert said.retry_after is None or timedelta() <= said.retry_after <= LONGEST
    assert kind_of(status, body) is not None


def told_in_docs() -> set[tuple[str, int, str]]:
    text = (Path(__file__).parents[4] / "docs" / "failures.md").read_text()
    rows = re.findall(r"^\| ([A-Za-z]+) \| ([0-9]{3}) \|.*\| `([a-z_]+)` \|$", text, re.MULTILINE)
    return {(provider, int(status), kind) for provider, status, kind in rows}


def test_the_page_for_users_tells_every_case_and_no_other() -> None:
    assert told_in_docs() == {(case.provider, case.status, case.kind.value) for case in CASES}


def test_a_refusal_that_only_time_or_an_operator_cures_never_ends_a_job() -> None:
    for case in CASES:
        if case.status in {401, 402, 500, 503, 529}:
            assert RULES[case.kind].cure is not Cure.NONE
