import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.ceiling import ceiling
from worker.core.content import MAX_DEPTH, inspect

PATH = "/v1/chat/completions"
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def body(**members: object) -> bytes:
    return json.dumps({"model": "m", **members}).encode()


@given(st.binary())
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    content = inspect(PATH, raw)
    assert content.flaw is None or not content.model


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    inspect(PATH, text.encode(errors="surrogatepass"))


@given(JSON_VALUES)
def test_no_json_makes_it_raise(value: object) -> None:
    inspect(PATH, json.dumps(value).encode())
    inspect(PATH, json.dumps({"model": value, "x": value}).encode())


@given(
    st.dictionaries(
        st.sampled_from(
            ["max_tokens", "max_completion_tokens", "n", "prompt", "service_tier", "x"]
        ),
        JSON_VALUES,
    )
)
def test_what_its_call_may_cost_at_most_is_as_the_body_alone_tells(
    members: dict[str, object],
) -> None:
    raw = body(**members)
    content = inspect(PATH, raw)
    assert content.ceiling == (ceiling(PATH, raw) if content.flaw is None else None)


def test_white_space_around_a_body_is_none_of_it() -> None:
    plain, spaced = inspect(PATH, body()), inspect(PATH, b" \n" + body() + b"\t ")
    assert spaced.flaw is None
    assert (spaced.model, spaced.content_hash) == (plain.model, plain.content_hash)


@pytest.mark.parametrize(
    ("raw", "flaw"),
    [
        (b"", "the body is not JSON, at character 0"),
        (b"\xff{}", "the body is not UTF-8"),
        (b'\xef\xbb\xbf{"model":"m"}', "the body is not JSON, at character 0"),
        (b'{"model":"secret"', "the body is not JSON, at character 17"),
        (b'{"model":"m"} x', "the body is not JSON, at character 14"),
        (b"[]", "the body must be a JSON object"),
        (b"{}", "model: must be a non-empty string"),
        (b'{"model":""}', "model: must be a non-empty string"),
        (b'{"model":7}', "model: must be a non-empty string"),
        (b'{"model":"\\ud800"}', "model: must be Unicode text"),
        (b'{"model":"m","x":NaN}', "the body is not JSON: NaN and Infinity are no numbers"),
        (b'{"model":"m","x":-Infinity}', "the body is not JSON: NaN and Infinity are no numbers"),
        (b'{"model":"m","x":1e999}', "a number in the body is too large"),
        (b'{"model":"m","x":' + b"9" * 5000 + b"}", "a number in the body is too large"),
        (b'{"model":"m","model":"n"}', "an object in the body has the same key twice"),
        (b'{"model":"m","x":[{"a":1,"a":1}]}', "an object in the body has the same key twice"),
        (b'{"model":"m","stream":true}', "stream: streaming is not supported yet"),
        (b'{"model":"m","x":' + b"[" * 100 + b"]" * 100 + b"}", f"the body is nested deeper than {MAX_DEPTH} levels"),
        (b"[" * 1_000_000, f"the body is nested deeper than {MAX_DEPTH} levels"),
        (b'{"model":' * 100_000, f"the body is nested deeper than {MAX_DEPTH} levels"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_sent_has_a_flaw_that_says_why(raw: bytes, flaw: str) -> None:
    content = inspect(PATH, raw)
    assert (content.flaw, content.model, content.shareable) == (flaw, "", False)


@given(st.text())
def test_a_flaw_never_quotes_the_content(text: str) -> None:
    secret = f"canary {text}"
    for raw in (secret, f'{{"{secret}"', f'{{"model":["{secret}"]}}'):
        flaw = inspect(PATH, raw.encode(errors="replace")).flaw
        assert flaw is None or secret not in flaw


def test_depth_up_to_the_bound_is_no_flaw() -> None:
    inner = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert inspect(PATH, b'{"model":"m","x":' + inner + b"}").flaw is None


@pytest.mark.parametrize("member", [{"stream": False}, {"stream": None}, {"store": False}, {}])
def test_what_asks_for_nothing_special_is_shareable(member: dict[str, object]) -> None:
    content = inspect(PATH, body(**member))
    assert (content.model, content.flaw, content.shareable) == ("m", None, True)


@pytest.mark.parametrize(
    "member",
    [
        {"store": True},
        {"store": "yes"},
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"conversation": {"id": "c"}},
    ],
)
def test_what_uses_state_on_the_upstreams_side_is_not_shareable(member: dict[str, object]) -> None:
    content = inspect(PATH, body(**member))
    assert (content.flaw, content.shareable) == (None, False)


def test_white_space_key_order_and_escapes_do_not_change_the_hash() -> None:
    plain = inspect(PATH, b'{"model":"m","messages":["\xc3\xa9"]}')
    other = inspect(PATH, b'{ "messages" : ["\\u00e9"],\n "model":"m"}')
    assert plain.content_hash == other.content_hash


@given(JSON_VALUES, JSON_VALUES)
def test_different_values_have_different_hashes(one: object, other: object) -> None:
    texts = [json.dumps(value, sort_keys=True) for value in (one, other)]
    hashes = [inspect(PATH, body(x=value)).content_hash for value in (one, other)]
    assert (texts[0] == texts[1]) == (hashes[0] == hashes[1])


def test_the_path_is_part_of_the_hash() -> None:
    assert inspect("/v1/completions", body()).content_hash != inspect(PATH, body()).content_hash


@given(st.binary(), st.binary())
def test_flawed_bodies_have_the_same_hash_only_when_their_bytes_are_the_same(
    one: bytes, other: bytes
) -> None:
    hashes = [inspect(PATH, b"\xff" + raw).content_hash for raw in (one, other)]
    assert (one == other) == (hashes[0] == hashes[1])
