import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.faults import (
    MAX_BYTES,
    OK,
    WORDS,
    Argument,
    Fault,
    PlanError,
    parse_fault,
    parse_plan,
)

ARGUMENTS = {
    Argument.NONE: [""],
    Argument.SECONDS: ["0", "1.5"],
    Argument.OPTIONAL_SECONDS: ["", "0.01"],
    Argument.BYTES: ["0", "3000000"],
    Argument.HINTS: [
        *("", "insufficient_quota", "retry-after=2", "retry-after=-5", "retry-after=garbage"),
        *("retry-after-ms=1500", "retry-date=2", "retry-after=1000000000;insufficient_quota"),
        "retry-after=Wed, 21 Oct 2026 07:28:00 GMT",
    ],
}
FAULTS = [
    Fault(word=word, argument=argument)
    for word, kind in WORDS.items()
    for argument in ARGUMENTS[kind]
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_read_back_from_its_own_text(fault: Fault) -> None:
    assert parse_fault(str(fault)) == fault


@given(
    faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=6),
    for_good=st.booleans(),
    beyond=st.integers(0, 9),
)
def test_a_plan_gives_its_faults_in_order_and_then_ok_or_the_last_for_good(
    *, faults: list[Fault], for_good: bool, beyond: int
) -> None:
    plan = parse_plan(",".join(map(str, faults)) + ("!" if for_good else ""))
    assert [plan.at(index) for index in range(len(faults))] == faults
    assert plan.at(len(faults) + beyond) == (faults[-1] if for_good else OK)


@pytest.mark.parametrize("text", ["", "  "])
def test_the_empty_plan_is_always_ok(text: str) -> None:
    assert parse_plan(text).at(0) == OK


@pytest.mark.parametrize(
    "text",
    [
        *("no_such", "503,", ",503", "503!,400", "503 429", "429(retry-after=2", "hang(1)"),
        *("slow", "slow(x)", "slow(-1)", "slow(nan)", "slow(inf)", "drip(x)"),
        *("big", "big(-1)", "big(1.5)", f"big({MAX_BYTES + 1})", "gzip_bomb(lots)"),
        *("429(retry-after)", "429(wait=2)", "429(insufficient_quota=1)", "429(retry-date=x)"),
        *("429(retry-after=1\r\nx: y)", "429(retry-after=é)", "503)", "(503)"),
    ],
)
def test_a_wrong_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        parse_plan(text)


@given(st.text(alphabet="0123459(),!=;-. aehiknoprstvy_", max_size=30))
def test_any_text_is_a_plan_or_a_plan_error(text: str) -> None:
    try:
        plan = parse_plan(text)
    except PlanError:
        return
    assert all(fault.word in WORDS for fault in plan.faults)
