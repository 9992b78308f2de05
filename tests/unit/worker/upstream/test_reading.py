import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.classify import Shape
from worker.core.model import Usage
from worker.upstream import reading
from worker.upstream.reading import completion, refusal

CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["error", "choices", "data", "usage", "model", "code", "type", "object"]
            )
            | st.text(),
            inner,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("path", "body", "shape"),
    [
        (CHAT, b'{"choices": [{}]}', Shape.COMPLETION),
        (CHAT, b'\xef\xbb\xbf{"choices": [{}]}', Shape.COMPLETION),
        (CHAT, b'{"choices": [{}], "error": null}', Shape.COMPLETION),
        (CHAT, b'{"choices": []}', Shape.INCOMPLETE),
        (CHAT, b'{"choices": {}}', Shape.INCOMPLETE),
        (CHAT, b'{"data": [1]}', Shape.INCOMPLETE),
        (CHAT, b"[]", Shape.INCOMPLETE),
        (CHAT, b"1", Shape.INCOMPLETE),
        (CHAT, b"null", Shape.NOT_JSON),
        (CHAT, b'{"error": {"code": "x"}, "choices": [{}]}', Shape.ERROR),
        (CHAT, b'{"error": "model overloaded"}', Shape.ERROR),
        ("/v1/completions", b'{"choices": [{}]}', Shape.COMPLETION),
        ("/v1/completions", b'{"choices": []}', Shape.INCOMPLETE),
        (EMBED, b'{"data": [{}]}', Shape.COMPLETION),
        (EMBED, b'{"choices": [{}]}', Shape.INCOMPLETE),
        (EMBED, b'{"data": []}', Shape.INCOMPLETE),
        (CHAT, b"", Shape.NOTHING),
        (CHAT, b" \r\n ", Shape.NOTHING),
        (CHAT, b" <html></html>", Shape.PAGE),
        (CHAT, b'{"choices": [', Shape.NOT_JSON),
        (CHAT, b"\xff\xfe\x00", Shape.NOT_JSON),
        (CHAT, b"[" * 200_000, Shape.NOT_JSON),
        (CHAT, b"9" * 10_000, Shape.NOT_JSON),
    ],
)
def test_every_body_has_its_shape(path: str, body: bytes, shape: Shape) -> None:
    assert completion(path, body).shape is shape


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, 0)),
        ({"completion_tokens": 4}, None),
        ({"prompt_tokens": -1, "completion_tokens": 4}, None),
        ({"prompt_tokens": 3, "completion_tokens": "4"}, None),
        ({"prompt_tokens": True, "completion_tokens": 4}, None),
        ({"prompt_tokens": 3.0, "completion_tokens": 4}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 4}, None),
        (None, None),
        ([], None),
        ("many", None),
    ],
)
def test_odd_usage_is_no_usage_and_still_a_completion(
    usage: object, expected: tuple[int, int] | None
) -> None:
    read = completion(CHAT, json.dumps({"choices": [{}], "usage": usage}).encode())
    assert read.shape is Shape.COMPLETION
    if expected is None:
        assert read.usage is None
    else:
        assert read.usage == Usage(prompt_tokens=expected[0], completion_tokens=expected[1])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (0, 0, 0)),
        ({"prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1}}, (2, 1, 0)),
        ({"prompt_tokens_details": {"cached_tokens": None}}, (0, 0, 0)),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, (0, 0, 0)),
        ({"prompt_tokens_details": [2]}, (0, 0, 0)),
        ({"total_tokens": 14}, (0, 0, 0)),
        ({"total_tokens": 20}, (0, 0, 6)),
        ({"total_tokens": 5}, (0, 0, 0)),
        ({"total_tokens": "20"}, (0, 0, 0)),
    ],
)
def test_tokens_of_the_prompt_cache_and_those_in_the_total_alone_are_read(
    more: dict[str, object], expected: tuple[int, int, int]
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, **more}
    read = completion(CHAT, json.dumps({"choices": [{}], "usage": usage}).encode()).usage
    assert read is not None
    assert (read.cached_tokens, read.cache_write_tokens, read.hidden_tokens) == expected


@pytest.mark.parametrize("model", [None, 7, "", "x" * 257, "a\nb", ["gpt"]])
def test_an_odd_model_name_is_not_kept(model: object) -> None:
    read = completion(CHAT, json.dumps({"choices": [{}], "model": model}).encode())
    assert read.shape is Shape.COMPLETION
    assert read.model is None


@pytest.mark.parametrize(
    ("body", "code", "error_type"),
    [
        (b'{"error": {"code": "c", "type": "t", "message": "secret words"}}', "c", "t"),
        (b'{"error": {"code": null, "type": "t"}}', None, "t"),
        (b'[{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}]', "INVALID_ARGUMENT", None),
        (b'{"object": "error", "code": 404, "type": "NotFoundError"}', "404", "NotFoundError"),
        (b'{"error": "no such model"}', None, None),
        (b'{"error": {"code": "your prompt was: x"}}', None, None),
        (b'{"detail": "not found"}', None, None),
        (b"[]", None, None),
        (b"", None, None),
        (b"<html>", None, None),
    ],
)
def test_codes_are_found_in_every_known_shape(
    body: bytes, code: str | None, error_type: str | None
) -> None:
    said = refusal(body)
    assert (said.code, said.error_type, said.reason, said.retry_after) == (
        code,
        error_type,
        None,
        None,
    )


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("path", [CHAT, EMBED])
def test_no_body_makes_the_reader_raise(path: str, body: bytes) -> None:
    completion(path, body)
    refusal(body)


ODD = (
    *(b'"\\ud800"', b'{"\\udfff": 1}', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b'"\x7f"', b'"\t"'),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1.", b"01", b"9" * 5000, b"null", b""),
    *(b'{"a": 1, "a": 2}', b"[1,]", b"{}x", b"\x0b1", b"[" * 300 + b"]" * 300),
    *('{"a": "\u00e9"}'.encode("utf-16"), '{"a": 1}'.encode("utf-32")),
)


@given(
    st.binary() | st.sampled_from(ODD) | json_values.map(lambda value: json.dumps(value).encode())
)
def test_the_quick_parser_takes_nothing_that_the_standard_library_refuses_and_finds_the_same(
    body: bytes,
) -> None:
    try:
        expected = repr(json.loads(body))
    except (ValueError, RecursionError):
        expected = repr(None)
    assert repr(reading._decode(body)) == expected


@pytest.mark.parametrize("content", ['"choices": []', '"error": {"code": "oops"}'])
def test_what_is_no_completion_tells_its_usage_all_the_same(content: str) -> None:
    body = f'{{{content}, "model": "m-1", "usage": {{"prompt_tokens": 3}}}}'.encode()
    read = completion(CHAT, body)
    assert read.shape is not Shape.COMPLETION
    assert (read.model, read.usage) == ("m-1", Usage(prompt_tokens=3, completion_tokens=0))


@pytest.mark.parametrize(
    ("written", "found"),
    [('"flex"', "flex"), ('"default"', "default"), ("null", None), ("7", "7"), ('"a b"', None)],
)
def test_the_service_tier_is_the_one_that_the_answer_tells(written: str, found: str | None) -> None:
    body = f'{{"choices": [{{}}], "service_tier": {written}, "usage": {{"prompt_tokens": 3}}}}'
    usage = completion(CHAT, body.encode()).usage
    assert usage is not None
    assert usage.service_tier == found
