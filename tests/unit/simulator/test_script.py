import json
from collections import Counter

import pytest

from simulator.ask import Ask, read
from simulator.faults import PlanError
from simulator.script import Script, parse_chaos, parse_rules, rule
from simulator.wire import Request
from tests.unit.simulator.requests import CHAT, chat


def ask(text: str = "hi", **fields: object) -> Ask:
    body = json.dumps(chat(text, **fields)).encode()
    return read(Request(method="POST", path=CHAT, headers={}, body=body, http="1.1"))


def words(script: Script, asked: Ask, times: int) -> list[str]:
    return [str(script.take(asked)) for _ in range(times)]


def test_a_request_consumes_one_entry_per_call() -> None:
    script = Script(rules=[rule("503,429(retry-after=2)")])
    assert words(script, ask(), 3) == ["503", "429(retry-after=2)", "ok"]


def test_each_distinct_body_consumes_its_own_copy() -> None:
    script = Script(rules=[rule("503,500")])
    assert words(script, ask("a"), 1) == ["503"]
    assert words(script, ask("b"), 2) == ["503", "500"]
    assert words(script, ask("a"), 1) == ["500"]


def test_the_user_field_goes_before_the_script() -> None:
    script = Script(rules=[rule("400!")])
    assert words(script, ask(user="sim:503"), 2) == ["503", "ok"]
    assert words(script, ask(user="someone"), 1) == ["400"]


def test_a_bad_plan_in_the_user_field_is_an_error() -> None:
    with pytest.raises(PlanError, match="no_such"):
        Script().take(ask(user="sim:no_such"))


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({}, True),
        ({"model": "gpt-small"}, True),
        ({"model": "gpt"}, False),
        ({"contains": "poison"}, True),
        ({"contains": "grün"}, True),
        ({"contains": "other"}, False),
        ({"sha256": ask("poison grün").sha256}, True),
        ({"sha256": "0" * 64}, False),
        ({"model": "gpt-small", "contains": "other"}, False),
    ],
)
def test_every_condition_of_a_rule_must_hold(*, conditions: dict[str, str], matches: bool) -> None:
    script = Script(rules=parse_rules([{"match": conditions, "plan": "503"}]))
    assert words(script, ask("poison grün"), 1) == ["503" if matches else "ok"]


def test_the_first_rule_that_matches_decides() -> None:
    script = Script(rules=[rule("503", contains="zzz"), rule("500"), rule("400")])
    assert words(script, ask(), 2) == ["500", "ok"]


def test_healing_turns_every_plan_off_until_a_new_script() -> None:
    script = Script(rules=[rule("503!")], chaos=parse_chaos({"500": 1}))
    script.heal()
    assert words(script, ask(), 1) + words(script, ask(user="sim:400!"), 1) == ["ok", "ok"]
    script.set_rules([rule("502!")])
    assert words(script, ask(), 1) == ["502"]


def test_a_reset_lets_plans_start_again() -> None:
    script = Script(rules=[rule("503")])
    assert words(script, ask(), 2) == ["503", "ok"]
    script.reset()
    assert words(script, ask(), 2) == ["503", "ok"]


def test_chaos_gives_each_fault_its_share_and_repeats_with_its_seed() -> None:
    chaos = {"503": 0.3, "429(retry-after=1)": 0.2, "seed": 7}
    first, second = (Script(chaos=parse_chaos(chaos)) for _ in range(2))
    drawn = words(first, ask(), 2000)
    assert drawn == words(second, ask(), 2000)
    counts = Counter(drawn)
    assert counts["503"] / 2000 == pytest.approx(0.3, abs=0.04)
    assert counts["429(retry-after=1)"] / 2000 == pytest.approx(0.2, abs=0.04)
    assert counts["ok"] + counts["503"] + counts["429(retry-after=1)"] == 2000


def test_chaos_does_not_depend_on_the_order_of_other_requests() -> None:
    alone, among = (Script(chaos=parse_chaos({"503": 0.5, "seed": 1})) for _ in range(2))
    expected = words(alone, ask("a"), 20)
    mixed = [(words(among, ask("b"), 3), words(among, ask("a"), 1))[1][0] for _ in range(20)]
    assert mixed == expected


def test_requests_without_a_plan_leave_no_memory() -> None:
    script = Script(rules=[rule("503", contains="zzz")])
    for number in range(50):
        script.take(ask(str(number)))
    assert script._taken == {}


@pytest.mark.parametrize(
    "document",
    [
        {},
        [1],
        [{}],
        [{"plan": 5}],
        [{"plan": "nope"}],
        [{"plan": "503", "match": {"path": "x"}}],
        [{"plan": "503", "match": {"model": 1}}],
        [{"plan": "503", "extra": 1}],
    ],
)
def test_a_wrong_script_is_refused(document: object) -> None:
    with pytest.raises(PlanError):
        parse_rules(document)


@pytest.mark.parametrize(
    "document",
    [
        *([], {"503": 1.5}, {"503": -1}, {"503": "x"}, {"503": True}, {"nope": 0.1}),
        *({"503": 0.6, "500": 0.6}, {"503": 0.1, "seed": "x"}),
    ],
)
def test_wrong_chaos_is_refused(document: object) -> None:
    with pytest.raises(PlanError):
        parse_chaos(document)
