"""Tokens of a request before its call."""

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.estimate import Extent, Learned, extent, spent
from worker.core.model import Usage

TEXT = "All happy families are alike; each unhappy family is unhappy in its own way. " * 20
usages = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 10**7),
    completion_tokens=st.integers(0, 10**7),
    hidden_tokens=st.integers(0, 10**7),
)
extents = st.builds(
    Extent,
    prompt=st.integers(0, 10**7),
    most_output=st.none() | st.integers(0, 10**9),
)
lives = st.lists(st.tuples(extents, usages), max_size=60)


def body(content: object, **more: object) -> bytes:
    request = {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    return json.dumps(request).encode()


def learned(life: list[tuple[Extent, Usage]]) -> Learned:
    known = Learned()
    for asked, usage in life:
        known = known.after(asked, usage)
    return known


def picture(size: int, *, url: str | None = None) -> dict[str, object]:
    encoded = base64.b64encode(bytes(size)).decode()
    return {
        "type": "image_url",
        "image_url": {"url": url or f"data:image/png;base64,{encoded}", "detail": "high"},
    }


def test_a_text_takes_a_token_for_four_of_its_bytes() -> None:
    assert extent(body(TEXT)).prompt == len(body(TEXT)) // 4


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("indent", [None, 2])
def test_the_bound_of_the_output_is_read(name: str, indent: int | None) -> None:
    request = json.dumps({"model": "m", "input": TEXT, name: 321}, indent=indent).encode()
    assert extent(request).most_output == 321


@pytest.mark.parametrize(
    "request_body",
    [
        body('set {"max_tokens": 5} please'),
        body(TEXT, max_tokens=None),
        body(TEXT, max_tokens="9"),
        body(TEXT, max_tokens=-1),
        body("max_tokens"),
        b"",
        b'"max_tokens": ',
    ],
)
def test_what_is_no_bound_is_not_taken_for_one(request_body: bytes) -> None:
    assert extent(request_body).most_output is None


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_picture_counts_as_one_whatever_its_bytes(size: int) -> None:
    one = extent(body([{"type": "text", "text": TEXT}, picture(size)])).prompt
    assert 1000 < one - len(TEXT) // 4 < 1100
    two = extent(body([{"type": "text", "text": TEXT}, picture(size), picture(size)])).prompt
    assert 1000 <= two - one < 1050


def test_a_picture_by_its_url_counts_too() -> None:
    by_url = extent(body([picture(0, url="https://pictures.example/1.png")])).prompt
    assert 1000 < by_url < 1100
    responses = b'{"input": [{"type": "input_image", "image_url": "https://pictures.example/1"}]}'
    assert 1000 < extent(responses).prompt < 1100


@pytest.mark.parametrize("order", [("data", "format"), ("format", "data")])
def test_a_recording_counts_as_one_medium(order: tuple[str, str]) -> None:
    sound = {"data": base64.b64encode(bytes(90_000)).decode(), "format": "wav"}
    part = {"type": "input_audio", "input_audio": {key: sound[key] for key in order}}
    assert 1000 < extent(body([part])).prompt < 1100


def test_a_file_counts_as_one_medium() -> None:
    encoded = base64.b64encode(bytes(90_000)).decode()
    part = {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{encoded}"}}
    assert 1000 < extent(body([part])).prompt < 1100


@given(st.binary(max_size=2000) | st.text(max_size=500).map(body))
def test_any_bytes_have_an_extent(any_bytes: bytes) -> None:
    found = extent(any_bytes)
    assert found.prompt >= 0
    assert Learned().tokens(found) >= 1


@given(life=lives, asked=extents)
def test_an_estimate_is_never_zero_and_never_beyond_all_that_was_seen(
    life: list[tuple[Extent, Usage]], asked: Extent
) -> None:
    tokens = learned(life).tokens(asked)
    outputs = [usage.completion_tokens + usage.hidden_tokens for _, usage in life]
    first = 1000 if asked.most_output is None else asked.most_output
    assert 1 <= tokens <= 8 * asked.prompt + max(outputs, default=first) + 1


@given(life=lives, asked=extents)
def test_no_more_output_is_expected_than_is_asked_for(
    life: list[tuple[Extent, Usage]], asked: Extent
) -> None:
    known = learned(life)
    nothing = known.tokens(Extent(prompt=asked.prompt, most_output=0))
    most = asked.most_output or 0
    assert known.tokens(Extent(prompt=asked.prompt, most_output=most)) <= nothing + most + 1


def test_before_anything_is_learned_the_bound_is_taken_at_its_word() -> None:
    assert Learned().tokens(Extent(prompt=100, most_output=8000)) == 8100
    assert Learned().tokens(Extent(prompt=100)) == 1100


def test_what_calls_use_is_learned_with_the_first_one() -> None:
    known = Learned().after(
        Extent(prompt=100), Usage(prompt_tokens=80, completion_tokens=40, hidden_tokens=10)
    )
    assert known.tokens(Extent(prompt=1000, most_output=8000)) == 850
    assert known.tokens(Extent(prompt=1000, most_output=20)) == 820


def test_a_change_of_what_calls_use_is_followed() -> None:
    life = [(Extent(prompt=100), Usage(prompt_tokens=100, completion_tokens=1000))] * 200
    life += [(Extent(prompt=100), Usage(prompt_tokens=300, completion_tokens=10))] * 100
    assert math.isclose(learned(life).tokens(Extent(prompt=100)), 310, rel_tol=0.03)


def test_one_call_in_a_thousand_that_is_long_moves_the_mean_by_a_twentieth_of_it_at_most() -> None:
    steady = [(Extent(prompt=100), Usage(prompt_tokens=100, completion_tokens=100))] * 999
    long = (Extent(prompt=100), Usage(prompt_tokens=100, completion_tokens=20_100))
    assert learned([*steady, long]).tokens(Extent(prompt=0)) <= 1100


def test_hidden_tokens_are_spent_too() -> None:
    assert spent(Usage(prompt_tokens=1, completion_tokens=2, hidden_tokens=4)) == 7
