import hashlib
import json
from pathlib import Path

import pytest

from benchmarks import flame, layers, letters, profiles, spans
from benchmarks.figures import SHARES
from benchmarks.loads import URGENT, Load
from benchmarks.spans import Span
from stack.house import ROOT


def _start(call: int, number: str, at: float) -> spans.Event:
    sha = hashlib.sha256(letters.plain(number).body).hexdigest()
    return {"event": "start", "call": call, "at": at, "sha256": sha}


def _end(call: int, at: float) -> spans.Event:
    return {"event": "end", "call": call, "at": at}


def test_calls_are_joined_with_jobs_by_their_bodies_in_each_process() -> None:
    first = [_start(1, "a-1", 1.0), _start(2, "a-2", 2.0), _end(1, 3.0), _end(2, 4.0)]
    second = [_start(1, "a-3", 1.5), _end(1, 5.0), _start(2, "other", 6.0), _end(2, 7.0)]

    assert spans.spans([first, second], ["a-1", "a-2", "a-3"]) == {
        "a-1": Span(1, 3),
        "a-2": Span(2, 4),
        "a-3": Span(1.5, 5),
    }
    assert spans.starts([first, second]) == [1.0, 2.0, 1.5, 6.0]
    assert spans.ends([first, second]) == [3.0, 4.0, 5.0, 7.0]


def test_a_job_that_was_called_twice_lasts_from_the_first_call_to_the_last_end() -> None:
    log = [_start(1, "a-1", 1.0), _end(1, 2.0), _start(2, "a-1", 3.0), _end(2, 4.0)]

    assert spans.spans([log], ["a-1"]) == {"a-1": Span(1, 4)}


def test_a_call_without_an_end_is_left_out() -> None:
    assert spans.spans([[_start(1, "a-1", 1.0)]], ["a-1"]) == {}


def test_a_body_is_known_however_its_json_is_spaced() -> None:
    compact = json.dumps(letters.request("a-1"), separators=(",", ":")).encode()

    assert hashlib.sha256(compact).hexdigest() in spans.digests("a-1")
    assert hashlib.sha256(letters.plain("a-1").body).hexdigest() in spans.digests("a-1")


def test_a_log_is_read_from_where_it_ended_and_whole_lines_alone(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    log.write_text(json.dumps(_end(1, 1.0)) + "\n", encoding="utf-8")
    logs = spans.CallLogs([log, tmp_path / "none.jsonl"])
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_end(2, 2.0)) + "\n" + '{"event"')

    assert logs.read() == [[_end(2, 2.0)]]


def test_what_is_added_is_before_and_after_the_call() -> None:
    found = spans.delays(
        {"1": 10.0, "2": 20.0, "uncalled": 30.0},
        {"1": Span(10.002, 10.047), "2": Span(20.001, 20.046)},
        {"1": 10.050, "2": 20.045, "uncalled": 31.0},
    )

    assert found.there == pytest.approx([2, 1])
    assert found.back == pytest.approx([3, 0])
    assert found.added == pytest.approx([5, 1])


@pytest.mark.parametrize(
    ("began", "waited", "passed_by"),
    [(10.030, 10.0, 2), (10.022, 2.0, 1), (10.020, 0.0, 0), (10.010, 0.0, 0)],
)
def test_an_urgent_job_waits_from_the_next_end_of_a_call(
    began: float, waited: float, passed_by: int
) -> None:
    ends, others = [9.0, 10.020, 10.025], [9.1, 10.005, 10.021, 10.026, 10.031]
    slot = spans.after_a_slot(10.0, Span(began, 11.0), ends, sorted([*others, began]))

    assert slot.waited_ms == pytest.approx(waited)
    assert slot.passed_by == passed_by


def test_a_load_gives_the_figures_that_are_known() -> None:
    sent = {str(number): float(number) for number in range(100)}
    called = {key: Span(at + 0.001, at + 0.046) for key, at in sent.items()}
    arrived = {key: at + 0.050 for key, at in sent.items()}
    freed = [at + 0.0005 for at in sent.values()]
    steady = Load(name="50%", sent=sent, called=called, arrived=arrived)
    begun = sorted([*(at + 0.0007 for at in sent.values()), *(at for at, _ in called.values())])
    urgent = Load(name=URGENT, sent=sent, called=called, arrived=arrived, freed=freed, begun=begun)
    echo = Load(name="50/s", sent=sent, called={}, arrived=arrived)

    figures = steady.figures()
    assert figures["latency_p50_ms_at_50%"] == pytest.approx(50)
    assert figures["there_p99_ms_at_50%"] == pytest.approx(1)
    assert figures["added_p99_ms_at_50%"] == pytest.approx(5)
    assert not any(key.startswith("slot") for key in figures)
    assert urgent.figures()["slot_p99_ms_at_high priority"] == pytest.approx(0.5)
    assert urgent.figures()["passed_by_p99_at_high priority"] == 1
    assert echo.figures().keys() == {"latency_p50_ms_at_50/s", "latency_p99_ms_at_50/s"}
    assert len(steady.curve()) == len(echo.curve()) == len(SHARES)


_RAW = f"""\
process 12:"python -m x --url amqp://admin:secret@h/";<module> ({ROOT}/worker/cli/main.py);run (/usr/lib/python3.11/asyncio/runners.py);on_frame ({ROOT}/.venv/lib/python3.11/site-packages/aiormq/channel.py) 30
<module> ({ROOT}/worker/cli/main.py);run (/usr/lib/python3.11/asyncio/runners.py) 10
run (/usr/lib/python3.11/asyncio/runners.py);begin ({ROOT}/worker/store/embedded/ledger.py);dumps (/usr/lib/python3.11/json/__init__.py) 50
<module> (<string>) 10
no count
"""


def test_a_sample_belongs_to_the_innermost_frame_that_is_of_a_layer() -> None:
    found = layers.by_layer(layers.folded(_RAW, str(ROOT)))

    assert found == {"ledger and stores": 50, "AMQP library": 30, "event loop": 10, "other": 10}


def test_layers_share_out_the_cpu_of_a_job() -> None:
    grid = layers.grid(layers.by_layer(layers.folded(_RAW, str(ROOT))), "t", 1000)

    assert grid.rows[0] == ("ledger and stores", "50.0%", "500")


def test_what_is_written_of_a_profile_names_neither_this_machine_nor_a_password(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "warren.folded"
    raw.write_text(_RAW, encoding="utf-8")
    written = profiles.described(raw, "Warren & all", 1000)

    assert {path.name for path in written} == {"warren.svg", "warren.md", "warren-layers.svg"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    texts = [path.read_text(encoding="utf-8") for path in written]
    assert not any(str(ROOT) in text or "secret" in text for text in texts)


def test_a_profile_without_a_sample_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.folded").touch()

    assert not profiles.described(tmp_path / "x.folded", "t", 1)
    assert not profiles.described(tmp_path / "none.folded", "t", 1)


def test_a_flame_graph_has_a_box_for_each_frame_that_is_wide_enough() -> None:
    drawn = flame.svg([(["a (/x/f.py)", "b"], 9999), (["c"], 1)], "t < u")

    assert "t &lt; u" in drawn
    assert "<title>a (/x/f.py): 9999 samples</title>" in drawn
    assert ">a (f.py)<" in drawn
    assert "<title>c: 1 samples" not in drawn
