"""The most that a call may cost, from its request."""

import json
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.ceiling import PICTURE, UNASKED_OUTPUT, Ceiling, ceiling
from worker.core.costs import Price, cost, highest_cost
from worker.core.model import Usage

CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RATES = st.decimals(min_value=0, max_value=1000, places=6)


def output(asked: dict[str, object], path: str = CHAT) -> int:
    return ceiling(path, json.dumps(asked).encode()).output_tokens


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 50}, 50),
        ({"max_tokens": 100, "max_completion_tokens": 50}, 100),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 2, "best_of": 5}, 500),
        ({"max_tokens": 100, "prompt": ["a", "b"], "n": 2}, 400),
        ({}, UNASKED_OUTPUT),
        ({"max_tokens": None, "n": None}, UNASKED_OUTPUT),
        ({"max_tokens": "100", "n": True}, UNASKED_OUTPUT),
        ({"max_tokens": -1, "n": 0}, UNASKED_OUTPUT),
    ],
)
def test_as_many_tokens_are_answered_as_were_asked_for(
    asked: dict[str, object], tokens: int
) -> None:
    assert output(asked) == tokens


def test_embeddings_have_no_output() -> None:
    assert output({"input": "text", "max_tokens": 7}, VECTORS) == 0


@given(st.text())
def test_a_prompt_has_no_more_tokens_than_the_body_has_bytes(prompt: str) -> None:
    body = json.dumps({"prompt": prompt}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert ceiling(TEXT, body).prompt_tokens == len(body)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_cannot_be_read_has_bounds_all_the_same(body: bytes) -> None:
    assert ceiling(CHAT, body) == Ceiling(prompt_tokens=len(body), output_tokens=UNASKED_OUTPUT)


PIXELS = "data:image/png;base64," + "A" * 1_000_000


@pytest.mark.parametrize("url", ["https://example.com/cat.png", PIXELS], ids=["named", "inside"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_picture_counts_by_itself_and_not_by_its_bytes(
    url: str,
    plain: bool,  # noqa: FBT001  # pytest passes parameters so
) -> None:
    part = {"type": "image_url", "image_url": url if plain else {"url": url, "detail": "high"}}
    message = {"role": "user", "content": [{"type": "text", "text": "what?"}, part, part]}
    body = json.dumps({"messages": [message]}).encode()
    around = len(body) - 2 * len(url)
    assert ceiling(CHAT, body).prompt_tokens == around + 2 * PICTURE


def test_a_picture_whose_key_is_escaped_counts_too() -> None:
    body = rb'{"messages": [{"content": [{"image\u005furl": {"url": "https://example.com/cat.png"}}]}]}'
    assert ceiling(CHAT, body).prompt_tokens > PICTURE


def test_the_service_tier_is_the_one_that_is_asked_for() -> None:
    assert ceiling(CHAT, b'{"service_tier": "priority"}').service_tier == "priority"
    assert ceiling(CHAT, b'{"service_tier": 5}').service_tier is None


@st.composite
def prices(draw: st.DrawFn) -> list[Price]:
    starts = sorted(draw(st.sets(st.integers(0, 2000), max_size=3)))
    return [
        Price(
            input=draw(RATES),
            output=draw(RATES),
            cached_input=draw(st.none() | RATES),
            cache_write=draw(st.none() | RATES),
            above=above,
        )
        for above in (-1, *starts)
    ]


@given(prices(), st.data())
def test_no_call_within_its_bounds_costs_more_than_its_highest_cost(
    steps: list[Price], data: st.DataObject
) -> None:
    bounds = Ceiling(
        prompt_tokens=data.draw(st.integers(0, 5000)), output_tokens=data.draw(st.integers(0, 5000))
    )
    prompt = data.draw(st.integers(0, bounds.prompt_tokens))
    made = data.draw(st.integers(0, bounds.output_tokens))
    cached = data.draw(st.integers(0, prompt))
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=data.draw(st.integers(0, made)),
        cached_tokens=cached,
        cache_write_tokens=data.draw(st.integers(0, prompt - cached)),
    )
    real, highest = cost(steps, usage), highest_cost(steps, bounds)
    assume(real is not None)
    assert real is not None
    assert highest is not None
    assert real <= highest


def test_without_a_price_for_what_is_asked_nothing_is_known() -> None:
    bounds = Ceiling(prompt_tokens=10, output_tokens=10)
    assert highest_cost([], bounds) is None
    assert highest_cost([Price(input=Decimal(1), output=None)], bounds) is None
    free = [Price(input=Decimal(0), output=Decimal(0))]
    assert highest_cost(free, bounds) == 0
