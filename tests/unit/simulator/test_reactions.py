import gzip
import json
from email.utils import parsedate_to_datetime

import pytest

from simulator.ask import Ask, read
from simulator.faults import REFUSALS, WORDS, parse_fault
from simulator.reactions import Manner, Reaction, react
from simulator.wire import Request
from tests.unit.simulator.requests import CHAT, chat

NOW_S = 1_700_000_000.0


def ask(fields: object) -> Ask:
    body = json.dumps(fields).encode()
    return read(Request(method="POST", path=CHAT, headers={}, body=body, http="1.1"))


def to(fault: str, fields: object = None, *, latency_s: float = 0.5) -> Reaction:
    asked = ask(fields or chat())
    return react(parse_fault(fault), asked, call=1, now_s=NOW_S, latency_s=latency_s)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_has_a_reaction_whose_length_header_is_true(word: str) -> None:
    argument = {"slow": "(1)", "big": "(10)", "gzip_bomb": "(10)"}.get(word, "")
    reaction = to(word + argument)
    lengths = [value for name, value in reaction.headers if name == "content-length"]
    if reaction.manner in {Manner.HANG, Manner.RESET} or reaction.status == 204:
        assert (lengths, reaction.body) == ([], b"")
    else:
        assert lengths == [str(len(reaction.body))]


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_comes_at_once_in_the_shape_of_openai(word: str) -> None:
    reaction = to(word)
    assert reaction.status == (400 if word == "context_length" else int(word))
    assert reaction.delay_s == 0
    assert json.loads(reaction.body)["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("context_length", "context_length_exceeded"),
        ("404", "model_not_found"),
        ("429", "rate_limit_exceeded"),
        ("429(insufficient_quota)", "insufficient_quota"),
        ("429(retry-after=3;insufficient_quota)", "insufficient_quota"),
    ],
)
def test_a_refusal_has_the_code_that_clients_look_for(fault: str, code: str) -> None:
    assert json.loads(to(fault).body)["error"]["code"] == code


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("429", None),
        ("429(retry-after=2)", ("retry-after", "2")),
        ("429(retry-after=-5)", ("retry-after", "-5")),
        ("429(retry-after=1000000000)", ("retry-after", "1000000000")),
        ("503(retry-after=garbage)", ("retry-after", "garbage")),
        ("429(retry-after-ms=1500)", ("retry-after-ms", "1500")),
    ],
)
def test_a_hint_goes_into_its_header_as_it_stands(fault: str, hint: tuple[str, str] | None) -> None:
    hints = [pair for pair in to(fault).headers if pair[0].startswith("retry")]
    assert hints == ([hint] if hint else [])


@pytest.mark.parametrize("seconds", [2, -30])
def test_a_hint_as_a_date_is_counted_from_now(seconds: int) -> None:
    headers = dict(to(f"429(retry-date={seconds})").headers)
    assert parsedate_to_datetime(headers["retry-after"]).timestamp() == NOW_S + seconds


def test_latency_delays_answers_but_slow_sets_its_own() -> None:
    waits = [to(fault).delay_s for fault in ("ok", "truncated", "slow(2)", "hang", "429")]
    assert waits == [0.5, 0.5, 2, 0, 0]


def test_big_is_a_right_answer_with_that_much_padding() -> None:
    body = json.loads(to("big(5000)").body)
    assert len(body["padding"]) == 5000
    assert body["choices"]


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_a_gzip_bomb_expands_to_exactly_that_size(size: int) -> None:
    reaction = to(f"gzip_bomb({size})")
    assert dict(reaction.headers)["content-encoding"] == "gzip"
    assert len(gzip.decompress(reaction.body)) == size
    assert len(reaction.body) < 100 + size / 100


@pytest.mark.parametrize("fault", ["garbage", "html", "truncated", "empty"])
def test_a_spoiled_body_is_a_200_that_is_no_json(fault: str) -> None:
    reaction = to(fault)
    assert reaction.status == 200
    with pytest.raises(ValueError):  # noqa: PT011 - JSON and Unicode errors are both meant
        json.loads(reaction.body)


def test_no_choices_is_a_right_answer_without_choices() -> None:
    body = json.loads(to("no_choices").body)
    assert body["choices"] == []
    assert body["usage"]


def test_a_wrong_request_gets_its_400_even_where_a_fault_would_spoil_the_answer() -> None:
    assert to("drip", {"model": "m"}).status == 400
