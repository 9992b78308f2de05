import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.answers import answer
from simulator.ask import read
from simulator.wire import Request
from tests.unit.simulator.requests import CHAT, chat


def ask(path: str, fields: object, *, method: str = "POST", call: int = 1) -> tuple[int, Any]:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    request = Request(method=method, path=path, headers={}, body=body, http="1.1")
    return answer(read(request), call=call, created=1_700_000_000)


def test_a_chat_completion_has_the_shape_of_openai() -> None:
    status, body = ask(CHAT, chat("x" * 400))
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["model"] == "gpt-small"
    assert body["created"] == 1_700_000_000
    choice = body["choices"][0]
    assert choice["index"] == 0
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    usage = body["usage"]
    assert usage["prompt_tokens"] == 101  # 400 characters and the role's 4
    assert usage["completion_tokens"] == -(-len(choice["message"]["content"]) // 4)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_same_request_gives_the_same_text_and_another_id() -> None:
    (_, first), (_, second) = ask(CHAT, chat(), call=1), ask(CHAT, chat(), call=2)
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


def test_another_request_gives_another_text() -> None:
    texts = {ask(CHAT, chat(str(n)))[1]["choices"][0]["message"]["content"] for n in range(50)}
    assert len(texts) > 45


def test_a_token_limit_cuts_the_text() -> None:
    _, body = ask(CHAT, chat(max_tokens=3))
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 3


def test_several_choices_come_if_asked_for() -> None:
    _, body = ask(CHAT, chat(n=3))
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


def test_a_text_completion_has_the_shape_of_openai() -> None:
    status, body = ask("/v1/completions", {"model": "m", "prompt": "abcd"})
    assert (status, body["object"]) == (200, "text_completion")
    assert body["choices"][0]["text"]
    assert body["usage"]["prompt_tokens"] == 1


@pytest.mark.parametrize(("given_input", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1)])
def test_embeddings_give_one_vector_per_input(given_input: object, count: int) -> None:
    status, body = ask("/v1/embeddings", {"model": "m", "input": given_input})
    assert status == 200
    assert [len(item["embedding"]) for item in body["data"]] == [8] * count


def test_an_input_has_the_same_vector_wherever_it_stands() -> None:
    _, alone = ask("/v1/embeddings", {"model": "m", "input": "a"})
    _, among = ask("/v1/embeddings", {"model": "m", "input": ["b", "a"]})
    assert among["data"][1]["embedding"] == alone["data"][0]["embedding"]


def test_embeddings_in_base64_are_the_same_vector_in_floats() -> None:
    fields = {"model": "m", "input": "a", "dimensions": 3}
    plain = ask("/v1/embeddings", fields)[1]["data"][0]["embedding"]
    packed = ask("/v1/embeddings", fields | {"encoding_format": "base64"})[1]["data"][0][
        "embedding"
    ]
    assert struct.unpack("<3f", base64.b64decode(packed)) == pytest.approx(plain)


def test_models_are_listed() -> None:
    status, body = ask("/v1/models", b"", method="GET")
    assert (status, body["object"]) == (200, "list")
    assert body["data"][0]["object"] == "model"


@pytest.mark.parametrize(
    ("path", "fields", "method", "status", "param"),
    [
        (CHAT, chat(stream=True), "POST", 400, "stream"),
        (CHAT, {"model": "m"}, "POST", 400, "messages"),
        (CHAT, {"messages": [1]}, "POST", 400, "model"),
        ("/v1/completions", {"model": "m"}, "POST", 400, "prompt"),
        ("/v1/embeddings", {"model": "m"}, "POST", 400, "input"),
        (CHAT, b"{", "POST", 400, None),
        (CHAT, b"[]", "POST", 400, None),
        (CHAT, b"\xff", "POST", 400, None),
        (CHAT, b"[" * 100_000, "POST", 400, None),
        (CHAT, b"", "GET", 405, None),
        ("/v1/nothing", chat(), "POST", 404, None),
    ],
)
def test_a_wrong_request_is_refused_in_the_shape_of_openai(
    *, path: str, fields: object, method: str, status: int, param: str | None
) -> None:
    got, body = ask(path, fields, method=method)
    assert got == status
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["param"] == param


VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 3, 1 << 70, 0.5, "", "x", [], [1], [[{}]], {"a": [None]}]
)


@given(st.fixed_dictionaries(dict.fromkeys(("model", "messages", "n", "max_tokens"), VALUES)))
def test_any_json_object_is_answered_or_refused(fields: dict[str, object]) -> None:
    status, body = ask(CHAT, fields)
    assert status in {200, 400}
    json.dumps(body)


def test_a_deeply_nested_prompt_is_answered() -> None:
    deep = b'{"model": "m", "messages": ' + b"[" * 900 + b'"x"' + b"]" * 900 + b"}"
    assert ask(CHAT, deep)[0] == 200
