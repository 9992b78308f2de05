import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.content import inspect
from worker.core.renaming import renamed

PATH = "/v1/chat/completions"
TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("model"), inner),
    max_leaves=12,
)
SPACES = st.text(" \t\n\r", max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str, str]:
    """Draw what stands before the value of a body's own "model", the value, and what stands after it."""
    members = draw(st.dictionaries(TEXTS.filter(lambda key: key != "model"), VALUES, max_size=4))
    written = [
        json.dumps(key, ensure_ascii=draw(st.booleans()))
        + draw(SPACES)
        + ":"
        + draw(SPACES)
        + json.dumps(
            value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
        )
        + draw(SPACES)
        for key, value in members.items()
    ]
    key = draw(st.sampled_from(['"model"', '"mod\\u0065l"', '"\\u006d\\u006F\\u0064el"']))
    value = json.dumps(draw(TEXTS.filter(bool)), ensure_ascii=draw(st.booleans()))
    place = draw(st.integers(0, len(written)))
    before = "".join(f"{each},{draw(SPACES)}" for each in written[:place])
    after = "".join(f",{draw(SPACES)}{each}" for each in written[place:])
    return (
        draw(SPACES) + "{" + draw(SPACES) + before + key + draw(SPACES) + ":" + draw(SPACES),
        value,
        draw(SPACES) + after + "}" + draw(SPACES),
    )


@given(bodies(), TEXTS)
def test_the_name_stands_where_the_models_stood_and_every_other_byte_stays(
    parts: tuple[str, str, str], name: str
) -> None:
    before, value, after = parts
    body = (before + value + after).encode()
    there = renamed(body, name)
    assert there == before.encode() + json.dumps(name).encode() + after.encode()
    assert json.loads(there) == {**json.loads(body), "model": name}


@given(st.dictionaries(TEXTS, VALUES), TEXTS)
def test_whatever_is_sent_at_all_can_be_renamed(document: dict[str, Any], name: str) -> None:
    body = json.dumps({**document, "model": "m"}).encode()
    if inspect(PATH, body).flaw is None:
        assert inspect(PATH, renamed(body, name or "x")).model == (name or "x")


@pytest.mark.parametrize(
    ("body", "there"),
    [
        (b'{"model":"a"}', b'{"model":"n"}'),
        (b' {\n"model" :\t"a" , "x":"model"}\n', b' {\n"model" :\t"n" , "x":"model"}\n'),
        (b'{"x":{"model":"in"},"model":"a"}', b'{"x":{"model":"in"},"model":"n"}'),
        (b'{"x":["model",":"],"model":"a"}', b'{"x":["model",":"],"model":"n"}'),
        (b'{"\\"model\\"":1,"model":"\\"a\\\\"}', b'{"\\"model\\"":1,"model":"n"}'),
        (b'{"x":1e400,"\\u006dodel":"a"}', b'{"x":1e400,"\\u006dodel":"n"}'),
        ('{"ü":"😀","model":"é"}'.encode(), '{"ü":"😀","model":"n"}'.encode()),
        (b'{"x":"\\ud800","model":"a"}', b'{"x":"\\ud800","model":"n"}'),
    ],
)
def test_only_the_bodys_own_model_is_renamed(body: bytes, there: bytes) -> None:
    assert renamed(body, "n") == there


def test_a_name_is_written_so_that_it_is_read_as_it_is() -> None:
    name = 'a "name"\\\n\u2028ü'
    assert json.loads(renamed(b'{"model":"a"}', name))["model"] == name


def test_a_key_that_stands_twice_never_comes_here() -> None:
    assert inspect(PATH, b'{"model":"a","model":"b"}').flaw is not None
    assert inspect(PATH, b'{"model":"a","mod\\u0065l":"b"}').flaw is not None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"x":1}', b'{"model"', b'{"model":', b"{", b'"model"', b"\xff", b"[{"],
)
def test_a_body_without_a_model_of_its_own_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any text: such a body never comes here
        renamed(body, "n")
