import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from benchmarks import (
    bench,
    documents,
    lines,
    measurements,
    page,
    plots,
    rounds,
    shown,
    targets,
)
from benchmarks.figures import Figures
from benchmarks.grid import Grid, markdown, terminal
from benchmarks.lines import Axes, Line
from benchmarks.loads import URGENT, key_of
from benchmarks.remaining import Plan, said
from benchmarks.targets import TARGETS, Target, Verdict
from tests.unit.benchmarks.fakes import figures


def _document(
    name: str, found: Mapping[str, Figures] | None = None, *arguments: str
) -> documents.Document:
    (task,) = measurements.tasks(bench._parser().parse_args([name, *arguments]))
    given = {
        key: [each]
        for key, each in (found or {each.key: figures() for each in task.entrants}).items()
    }
    made: documents.Document = json.loads(json.dumps(documents.document(task, given, [name])))
    return made


def _drawn(text: str) -> list[str]:
    return [each.text for each in ET.fromstring(text).iter() if each.text and each.text.strip()]  # noqa: S314  # our own drawing


@pytest.mark.parametrize("name", measurements.MEASUREMENTS)
def test_every_measurement_becomes_tables_pictures_and_a_section(name: str) -> None:
    document = _document(name)
    rows = document["contestants"]

    assert len(shown.everybody(document).rows) == len(rows)
    assert all(terminal(grid).row_count == len(grid.rows) for grid in shown.grids(document))
    assert all(_drawn(drawn) for drawn in plots.plots(document).values())
    text = page.page({name: document}, "..")
    assert all(row["title"] in text for row in rows)
    assert f"bench-{name}-jobs-per-s.svg" in text


def test_an_object_has_what_programs_read() -> None:
    row = documents.row(_document("load"), contestant="warren")

    assert row is not None
    assert {"name", "in_flight", "jobs_per_s", "cpu_us_per_job", "rss_mb"} <= row.keys()
    assert {"latency_p50_ms", "latency_p99_ms", "bottleneck", "spread", "rounds"} <= row.keys()


def test_the_command_is_told_without_the_files_of_this_machine() -> None:
    (task,) = measurements.tasks(bench._parser().parse_args([]))
    arguments = ["load", "--json", "/a/b.json", "--rounds", "3", "--profile=/c"]

    assert documents.document(task, {}, arguments)["command"] == "./dev bench load --rounds 3"


def test_who_was_left_out_is_told() -> None:
    document = _document("peers", {"bare": figures()})

    assert "Warren, everything on" in document["left_out"]
    assert "Left out, as it failed: Warren, everything on." in page.page({"peers": document}, "..")


def test_latencies_at_rates_are_a_table_of_their_own_with_what_is_known() -> None:
    known = {
        key_of(way, told, "50%"): 5.0 for way in ("latency", "there") for told in ("p50", "p99")
    }
    document = _document("load", {"bare": figures(**known), "warren": figures()})
    grid = shown.loads(document)

    assert grid is not None
    assert grid.heads == ("contestant", "at", "reply p50", "reply p99", "call p50", "call p99")
    assert len(grid.rows) == 1
    assert shown.loads(_document("load")) is None


def test_sizes_are_compared_with_the_first_of_the_same_contestant() -> None:
    found = {
        "bare, 1 process": figures(100, 500),
        "bare, 2 processes": figures(180, 550),
        "warren, 1 process": figures(50, 800),
        "warren, 2 processes": figures(100, 800),
    }
    grid = shown.compared(_document("processes", found))

    assert grid is not None
    assert [row[1:4] for row in grid.rows] == [
        ("1", "1.00", "1.00"),
        ("2", "1.80", "1.10"),
        ("1", "1.00", "1.00"),
        ("2", "2.00", "1.00"),
    ]
    assert shown.compared(_document("peers")) is None


def test_a_figure_that_the_simulator_bounded_is_told() -> None:
    bounded = replace(figures(), busiest_simulator=0.97)

    (line,) = shown.limits(_document("peers", {"bare": bounded, "warren": figures()}))
    assert line.startswith("Bounded by the simulator, not by the contestant: floor: aiormq")
    assert "Warren" not in line
    assert shown.limits(_document("peers", {"warren": figures()}))[0].startswith("No figure")
    (line,) = shown.limits(_document("peers", {"bare": bounded, "warren": bounded}))
    assert line.endswith("not by the contestant: everyone (others 0.00 to 0.00 cores).")


def test_the_headline_says_when_it_says_little_of_the_workers() -> None:
    bounded = replace(figures(), busiest_simulator=0.97)
    heads = [
        page.page({"peers": _document("peers", {"warren": each})}, "..").split("## Targets")[0]
        for each in (figures(), bounded)
    ]

    assert ["The simulator was what bounded" in head for head in heads] == [False, True]


def test_how_long_urgent_jobs_wait_for_a_free_slot_has_a_picture_of_its_own() -> None:
    found = {"warren": figures(**{key_of("slot", "p99", URGENT): 40.0})}

    assert "40" in _drawn(plots.plots(_document("priority", found))["slot"])
    assert "slot" not in plots.plots(_document("peers"))


def test_what_differs_widely_is_drawn_by_powers_of_ten() -> None:
    found = {"warren, 1 in flight": figures(10), "warren, 200 in flight": figures(1000)}

    assert {"10", "100", "1,000"} <= set(
        _drawn(plots.plots(_document("concurrency", found))["jobs-per-s"])
    )


def test_the_caption_tells_how_many_jobs_there_were() -> None:
    assert shown.caption(_document("peers")).startswith("peers: 4,000 jobs, 200 in flight")
    assert "100 to 10,000 jobs, 1, 16, 200, 1,000 in" in shown.caption(_document("concurrency"))
    assert shown.caption(_document("priority")).startswith(
        "priority: 2,000 jobs, 100,000 more behind them, 200 in flight, an upstream of 500 to 1,500 ms; median"
    )
    assert shown.caption(_document("publish")).startswith("publish: 10,000 jobs; median of 3")


def test_sizes_are_drawn_as_lines_and_latencies_as_a_distribution() -> None:
    added = {key_of("added", "p50", "50%"): 5.0}
    assert "calls in flight (log scale)" in _drawn(
        plots.plots(_document("concurrency"))["jobs-per-s"]
    )
    drawn = plots.plots(_document("load", {"warren": figures(**added)}))
    assert {"99.9%", "Warren, everything on"} <= set(_drawn(drawn["latency"]))
    added[key_of("added", "p50", "90%")] = 9.0
    drawn = plots.plots(_document("load", {"warren": figures(**added)}))
    assert {"Warren, everything on, 50%", "Warren, everything on, 90%"} <= set(
        _drawn(drawn["latency"])
    )


@pytest.mark.parametrize("log", [False, True])
def test_lines_stay_in_the_picture(*, log: bool) -> None:
    points = [(1.0, 0.02), (10.0, 5.0), (1000.0, 900.0)]
    axes = Axes(title="a < b", below="x", ticks=[(1, "1"), (1000, "1,000")], log_x=True, log_y=log)
    drawn = ET.fromstring(lines.svg([Line(label="l & l", points=points)], axes))  # noqa: S314  # our own drawing

    circles = list(drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 3
    assert all(0 < float(each.attrib["cx"]) < 900 for each in circles)
    assert all(0 < float(each.attrib["cy"]) < 420 for each in circles)


def test_a_long_name_of_a_line_has_room_beside_the_plot() -> None:
    label = "a contestant with a name of so many letters, at a rate with a name of its own"
    axes = Axes(title="t", below="x", ticks=[(1, "1"), (1000, "1,000")])
    drawn = ET.fromstring(lines.svg([Line(label=label, points=[(1, 1)])], axes))  # noqa: S314  # our own drawing

    (said,) = (
        each for each in drawn.iter("{http://www.w3.org/2000/svg}text") if each.text == label
    )
    assert float(drawn.attrib["viewBox"].split()[2]) > float(said.attrib["x"]) + 6 * len(label)


def test_a_column_in_which_nobody_has_a_figure_is_left_out() -> None:
    bare = replace(figures(), latency_p50_ms=0, latency_p99_ms=0)
    some = shown.everybody(_document("peers", {"bare": bare, "warren": figures()}))
    none = shown.everybody(_document("peers", {"bare": bare}))

    assert set(some.heads) - set(none.heads) == {"p50 ms", "p99 ms"}
    assert all(len(row) == len(grid.heads) for grid in (some, none) for row in grid.rows)


def test_a_cell_cannot_break_a_table_of_markdown() -> None:
    text = markdown(Grid(title="t", heads=("a", "b"), rows=[("x|y", "1\n0-2")]))

    assert text.splitlines()[2:] == ["| a | b |", "| --- | ---: |", "| x\\|y | 1<br>0-2 |"]


def _whole(**changes: documents.Document) -> dict[str, documents.Document]:
    added = {key_of("added", "p50", "50%"): 3.0, key_of("added", "p99", "50%"): 30.0}
    urgent, bulk = ({key_of("slot", "p99", URGENT): ms} for ms in (40.0, 10.0))
    peers = {
        "bare": figures(400, 500),
        "faststream_aiohttp": figures(100, 900),
        "warren": figures(130, 700),
    }
    made = {
        "peers": _document("peers", peers),
        "concurrency": _document("concurrency", {"warren, 200 in flight": figures(130, 700)}),
        "memory": _document(
            "memory",
            {"warren": figures(1300, 800), "warren_http2": replace(figures(1000, 900), rss_mb=30)},
        ),
        "load": _document("load", {"warren": figures(**added)}),
        "priority": _document(
            "priority", {"warren": figures(**urgent), "warren_bulk": figures(**bulk)}
        ),
        "backlog": _document(
            "backlog",
            {
                "warren, 1,000 behind": figures(100, 700),
                "warren, 1,000,000 behind": figures(100, 740),
            },
        ),
        "processes": _document(
            "processes",
            {"warren, 1 process": figures(100), "warren, 2 processes": figures(150)},
        ),
    }
    return made | changes


def test_targets_are_judged_by_what_was_measured() -> None:
    said_of = {
        target.name: (figure, verdict) for target, figure, verdict in targets.judged(_whole())
    }
    measured = [figure for figure, _ in said_of.values()]

    assert measured == [
        pytest.approx(1.3),
        700,
        pytest.approx(1.4),
        1300,
        40,
        30,
        pytest.approx(800 / 700),
        3,
        30,
        40,
        10,
        pytest.approx(740 / 700),
        pytest.approx(1.5),
    ]
    assert [target.name for target in targets.missed(_whole())] == [
        "half load: added both ways, p99",
        "two processes: jobs/s of one",
    ]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {verdict for _, _, verdict in targets.judged({})} == {Verdict.UNKNOWN}
    assert not targets.missed({})
    assert len(targets.grid({}).rows) == len(TARGETS)


def test_where_something_else_bounded_warren_a_verdict_comes_with_a_caution() -> None:
    bounded = replace(figures(), busiest_simulator=0.97)
    found = _whole(
        load=_document("load", {"warren": bounded, "bare": figures()}),
        peers=_document("peers", {"warren": figures(), "bare": bounded}),
    )

    assert targets.caution(_whole()) is None
    said = targets.caution(found)
    assert said is not None
    assert "bounded Warren in load: " in said
    assert said in page.page(found, "..")


_MORE = Target(name="t", measured=lambda _: None, at_least=1.2, stretch=1.5)
_LESS = Target(name="t", measured=lambda _: None, at_most=750, stretch=600, unit="us")
_PLAIN = Target(name="t", measured=lambda _: None, at_most=50)


@pytest.mark.parametrize(
    ("target", "figure", "verdict"),
    [
        (_MORE, 1.19, Verdict.MISSED),
        (_MORE, 1.2, Verdict.MET),
        (_MORE, 1.5, Verdict.STRETCH),
        (_LESS, 751, Verdict.MISSED),
        (_LESS, 601, Verdict.MET),
        (_LESS, 600, Verdict.STRETCH),
        (_PLAIN, 50, Verdict.MET),
    ],
)
def test_a_target_is_met_at_its_bound(target: Target, figure: float, verdict: Verdict) -> None:
    assert target.verdict(figure) is verdict


def test_the_page_is_made_of_all_that_is_kept(tmp_path: Path) -> None:
    for name, document in _whole().items():
        documents.write(documents.path_of(tmp_path, name), document)
    text = page.write(tmp_path, "..").read_text(encoding="utf-8")

    assert text.index("## At a glance") < text.index("## Targets") < text.index("## peers")
    assert text.index("## peers") < text.index("## memory") < text.index("## How to read")
    assert (
        "200 calls in flight: **Warren with everything on does 130 jobs/s at 700 us of CPU a job**, the fastest of its "
        "neighbours, FastStream + aiohttp, 100 jobs/s at 900 us of CPU a job, a worker with no feature at all 400 jobs/s at 500"
    ) in text
    assert "Of 13 targets 11 are met, 2 are missed, and 0 were not measured." in text
    assert "| two processes: jobs/s of one | >= 1.6 x | 1.5 x | MISSED |" in text


@pytest.mark.parametrize("found", [{}, {"load": None}, {"peers": {"echo": figures()}}])
def test_a_page_without_warren_beside_its_peers_has_no_headline_of_them(
    found: Mapping[str, Mapping[str, Figures] | None],
) -> None:
    text = page.page({name: _document(name, of) for name, of in found.items()}, "..")

    assert "One process each" not in text
    assert ("## At a glance" in text) == bool(found)


def test_what_is_left_is_reckoned_from_when_everything_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 105.0])
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    told = rounds.Progress(measurements.tasks(bench._parser().parse_args(["--only", "echo"])))
    told.stands()
    told.stands()
    told.tell("half of it", 0.5)

    assert capsys.readouterr().err.endswith("half of it; about 5 s left\n")


def test_what_is_left_goes_by_the_pace_until_now() -> None:
    plan = Plan(about_s=[100, 200, 300])

    assert plan.left_s(0, 0) == 600
    assert plan.left_s(1, 50) == pytest.approx(250)
    assert plan.left_s(1.5, 400) == pytest.approx(800)
    assert plan.left_s(3, 900) == 0
    assert (said(59), said(600), said(-1)) == ("59 s", "10 min", "0 s")
