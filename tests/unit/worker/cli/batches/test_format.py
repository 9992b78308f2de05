import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.wire import PATHS
from worker.cli.batches.format import Flaw, Line, read_line

GOOD: dict[str, Any] = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": []},
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def line(**changed: object) -> bytes:
    document = {name: value for name, value in (GOOD | changed).items() if value is not ...}
    return json.dumps(document).encode()


def flaw_of(data: bytes | None) -> Flaw:
    read = read_line(17, data)
    assert isinstance(read, Flaw)
    return read


def test_a_line_says_whose_it_is_what_is_asked_and_where() -> None:
    read = read_line(3, line(url="/v1/embeddings", body={"input": "café", "n": 1.0}, more=1))
    assert read == Line(
        number=3,
        custom_id="a",
        path="/v1/embeddings",
        body='{"input":"café","n":1.0}'.encode(),
    )


def test_the_model_of_the_run_stands_in_for_the_lines_own() -> None:
    read = read_line(1, line(), model="other")
    assert isinstance(read, Line)
    assert json.loads(read.body) == {"model": "other", "messages": []}


@pytest.mark.parametrize("blank", [b"", b"  ", b"\r"])
def test_a_blank_line_asks_for_nothing(blank: bytes) -> None:
    assert read_line(1, blank) is None


def test_a_byte_order_mark_is_taken_off_the_first_line_and_no_other() -> None:
    marked = b"\xef\xbb\xbf" + line()
    assert isinstance(read_line(1, marked), Line)
    assert isinstance(read_line(2, marked), Flaw)


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        (None, "line_too_long", "longer"),
        (b'{"custom_id": "a", ', "invalid_json", "column 20"),
        (b"{} {}", "invalid_json", "column 4"),
        (line().replace(b"m", b"\xff", 1), "invalid_utf8", "byte"),
        (line().decode().encode("utf-16"), "invalid_utf8", "byte 1"),
        (line(body={"t": float("nan")}), "invalid_json", "NaN"),
        (line(body={"t": float("-inf")}), "invalid_json", "-Infinity"),
        (line().replace(b"[]", b"1e999"), "invalid_json", "body"),
        (line().replace(b"[]", b"9" * 5000), "invalid_json", "number"),
        (line().replace(b"[]", b"[" * 100_000 + b"]" * 100_000), "invalid_json", "deep"),
        (line(body={"x": "\ud800"}), "invalid_json", "body"),
        (b"[]", "invalid_type", "object"),
        (b"null", "invalid_type", "object"),
        (line(custom_id=...), "missing_custom_id", "custom_id"),
        (line(custom_id=None), "missing_custom_id", "custom_id"),
        (line(custom_id=""), "missing_custom_id", "custom_id"),
        (line(custom_id=0), "invalid_type", "custom_id"),
        (line(custom_id=["a"]), "invalid_type", "custom_id"),
        (line(custom_id="\ud800"), "invalid_custom_id", "surrogate"),
        (line(method=...), "missing_method", "method"),
        (line(method="post"), "unknown_method", "POST"),
        (line(url=...), "missing_url", "url"),
        (line(url="/v1/chat/completions/"), "unknown_url", "/v1/embeddings"),
        (line(url=7), "invalid_type", "url"),
        (line(body=...), "missing_body", "body"),
        (line(body="{}"), "invalid_type", "body"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flawed_line_is_told_with_its_number_a_code_and_the_rule(
    data: bytes | None, code: str, told: str
) -> None:
    flaw = flaw_of(data)
    assert (flaw.number, flaw.code) == (17, code)
    assert told in flaw.message


def test_a_flaw_tells_whose_line_it_is_where_that_can_be_read() -> None:
    assert flaw_of(line(url="/x")).custom_id == "a"
    assert flaw_of(line(custom_id="\ud800")).custom_id is None
    assert flaw_of(b"{").custom_id is None


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_do_harm(data: bytes) -> None:
    assert isinstance(read_line(1, data), Line | Flaw | None)


@given(
    custom_id=st.text(min_size=1),
    url=st.sampled_from(PATHS),
    body=st.dictionaries(st.text(), JSON, max_size=4),
)
def test_every_good_line_is_read_with_the_same_body(
    custom_id: str, url: str, body: dict[str, Any]
) -> None:
    read = read_line(1, line(custom_id=custom_id, url=url, body=body))
    assert isinstance(read, Line)
    assert (read.custom_id, read.path) == (custom_id, url)
    assert json.loads(read.body) == body


def test_the_digest_tells_requests_apart_by_path_and_body_alone() -> None:
    lines = [
        read_line(1, line()),
        read_line(2, line(custom_id="b")),
        read_line(3, line(body={})),
        read_line(4, line(url="/v1/embeddings")),
    ]
    digests = [each.digest for each in lines if isinstance(each, Line)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
