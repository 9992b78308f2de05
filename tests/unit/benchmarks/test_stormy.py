"""What a storm may do is judged by the simulators' logs and the ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from benchmarks.plot import sparkline, svg
from benchmarks.stormy import Weather, busiest, drained_s, judge, seconds
from stack.auditor import Findings
from stack.callbook import Call
from worker.core.letters import Explanation
from worker.core.model import HistoryEntry, State, Tally

T0 = 1_790_000_000.0
WEATHER = Weather(began=T0 + 60, healed=T0 + 120, rate=20, capacity=60)
FINE = Findings(accepted=1, jobs=1, calls=1, replies=1)


def call(job: str, at: float, *, run: int = 1, status: int = 200) -> Call:
    return Call(
        job=job, run=run, generation=0, client=None, began=T0 + at, ended=T0 + at, status=status
    )


def explained(state: State = State.COMPLETED, *, ended: float = 130.0) -> Explanation:
    at = datetime.fromtimestamp(T0 + ended, UTC)
    entry = HistoryEntry(at=at, run=1, generation=0, attempt=1, what=state.value, endpoint="north")
    return Explanation(
        job_id="a" * 32,
        tenant="app",
        tier="standard",
        lane="interactive",
        path="/v1/chat/completions",
        model="m",
        state=state,
        run=1,
        generation=0,
        tally=Tally(attempts=1, calls=1),
        received_at=at,
        deadline=at + timedelta(hours=1),
        claimed_by=None,
        submissions=(),
        history=(entry,),
    )


def broken(
    calls: list[Call], jobs: list[Explanation], findings: Findings = FINE
) -> dict[str, float]:
    bounds = judge(calls, jobs, findings, WEATHER).bounds
    return {bound.name: bound.figure for bound in bounds if not bound.kept}


@pytest.mark.parametrize(("again", "kept"), [(19, True), (20, False)])
def test_a_fifth_of_all_calls_may_not_be_retries(again: int, *, kept: bool) -> None:
    firsts = [call(str(number), number, status=503) for number in range(80)]
    calls = [*firsts, *(call(str(number), 80 + number) for number in range(again))]
    found = broken(calls, [explained()])
    assert ("share of calls that are retries" not in found) is kept


def test_a_replay_s_calls_are_no_retries_of_the_run_before() -> None:
    assert broken([call("a", 0), call("a", 1, run=2)], [explained()]) == {}


def test_a_dead_letter_and_a_lost_job_break_the_bounds() -> None:
    jobs = [explained(), explained(State.DEAD_LETTERED), explained(State.EXPIRED)]
    findings = replace(FINE, lost=("a",), differing=("b", "c"))
    assert broken([call("a", 0)], jobs, findings) == {
        "dead letters": 1,
        "ended otherwise than completed": 1,
        "lost": 1,
        "other broken promises": 2,
    }


@pytest.mark.parametrize(
    ("begin", "count", "kept"), [(121, 503, True), (121, 504, False), (61, 900, True)]
)
def test_after_healing_no_more_calls_come_than_all_slots_make_of_healthy_ones(
    begin: float, count: int, *, kept: bool
) -> None:
    calls = [call(str(number), begin + number * 7.9 / count) for number in range(count)]
    found = broken(calls, [explained()])
    assert not found if kept else list(found) == ["calls a second after healing, over any 8 s"]


def test_when_the_last_job_ended_is_told_from_the_ledger() -> None:
    jobs = [explained(ended=125), explained(ended=141.5), explained(ended=3)]
    assert judge([call("a", 0)], jobs, FINE, WEATHER).figures["last_end_after_healing_s"] == 21.5


def test_the_busiest_span_is_found_wherever_it_begins() -> None:
    assert busiest([0, 1, 2.5, 3.0, 3.4, 3.9, 9], 2.0) == 2.0
    assert busiest([], 2.0) == 0


def test_a_backlog_is_drained_when_no_more_wait_than_usual_after_the_healing() -> None:
    waiting = [(10.0, 1), (59.0, 3), (61.0, 900), (90.0, 12), (95.0, 11), (99.0, 40)]
    assert drained_s(waiting, healed=60, usual=11) == 35.0
    assert drained_s(waiting, healed=96, usual=11) is None


def test_every_second_is_told_with_its_failed_calls_also_one_without_calls() -> None:
    calls = [call("a", 0.5), call("b", 0.7, status=503), call("c", 3.0)]
    told = [(each.at, each.calls, each.failed) for each in seconds(calls)]
    assert told == [(0, 2, 1), (1, 0, 0), (2, 1, 0)]
    assert seconds([]) == []


def test_a_drawing_is_whole_and_shades_the_storm() -> None:

    drawn = svg(seconds([call("a", 0), call("b", 5), call("c", 10, status=503)]), (2, 4), "a & b")
    root = ET.fromstring(drawn)  # noqa: S314  # see above
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}polyline")) == 2
    widths = [float(each.attrib["width"]) for each in root.findall(f"{space}rect")]
    assert widths == [900.0, pytest.approx(0.2 * 830, abs=0.2)]


@pytest.mark.parametrize("values", [[], [0], [1, 2, 3], list(range(1000))])
def test_a_sparkline_is_no_wider_than_it_may_be(values: list[float]) -> None:
    assert len(sparkline(values, width=10)) <= 10
