import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bench, contestants, letters, measurements, observed, publishing
from benchmarks.bars import Bar, svg
from benchmarks.figures import Spread, as_json, interleaved, percentile, verdict
from benchmarks.observed import Watch
from benchmarks.postoffice import Arrivals
from benchmarks.race import _Drained
from producer_sdk.wire import CompletionRequest, Dedupe, Envelope
from tests.unit.benchmarks.fakes import figures

_NOW = datetime(2026, 11, 26, tzinfo=UTC)


@given(st.lists(st.text(min_size=1), unique=True, min_size=1), st.integers(1, 20))
def test_everyone_runs_once_in_each_round(names: list[str], rounds: int) -> None:
    order = interleaved(names, rounds)

    assert len(order) == rounds
    assert all(sorted(each) == sorted(names) for each in order)


def test_each_round_begins_with_another_contestant() -> None:
    assert [order[0] for order in interleaved(["a", "b", "c"], 4)] == ["a", "b", "c", "a"]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_median_lies_between_the_least_and_the_most(values: list[float]) -> None:
    found = Spread.of(values)

    assert found.least <= found.median <= found.most


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (
        50,
        99,
        100,
    )
    assert percentile([7], 0.01) == 7
    assert percentile([], 0.5) == 0


@pytest.mark.parametrize(
    ("cores", "busiest", "said"),
    [
        ({"worker": 0.95, "simulator": 0.3}, 0.3, "worker"),
        ({"worker": 0.95, "simulator": 0.95}, 0.95, "simulator"),
        ({"worker": 0.4, "collector": 0.97, "simulator": 0.3}, 0.3, "collector"),
        ({"worker": 0.7, "broker": 0.8, "simulator": 0.4}, 0.4, "machine"),
        ({"worker": 0.7, "simulator": 1.0}, 0.5, "waiting"),
        ({"worker": 0.4, "simulator": 0.1, "others": 1.4}, 0.1, "machine"),
    ],
)
def test_the_verdict_names_what_was_busy(
    cores: Mapping[str, float], busiest: float, said: str
) -> None:
    assert verdict(cores, busiest, machine=2) == said


def test_the_object_of_a_contestant_has_medians_and_spreads() -> None:
    made = as_json("bare", 20, [figures(90), figures(130), figures(100)], 2)

    assert (made["name"], made["in_flight"], made["jobs_per_s"]) == ("bare", 20, 100)
    assert made["spread"]["jobs_per_s"] == [90, 130]
    assert made["bottleneck"] == "waiting"
    assert len(json.loads(json.dumps(made))["rounds"]) == 3


def test_cpu_is_read_behind_a_name_with_blanks_and_brackets() -> None:
    stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 100 0 0 0 30 12 5 7 20 0 1 0 99 0 0"

    assert observed.parse_cpu(stat) == 54


def test_a_machine_is_busy_with_all_but_idling_and_waiting() -> None:
    stat = "cpu  100 10 20 5000 300 4 5 6 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"

    assert observed.parse_busy(stat) == 145
    assert observed.busy_s() > 0


def test_memory_is_read_in_millions_of_bytes() -> None:
    rollup = "55d0-7ffc ---p 00000000 00:00 0   [rollup]\nRss:    2000 kB\nPss:    1000 kB\n"

    assert observed.parse_memory(rollup) == {"Rss": 2.048, "Pss": 1.024}


def test_what_was_spent_between_two_samples_is_a_line() -> None:
    samples = [(0.0, 1.0), (10.0, 3.0), (20.0, 3.0)]

    assert observed.spent(samples, 5, 10) == pytest.approx(1)
    assert observed.spent(samples, 0, 15) == pytest.approx(2)
    assert observed.spent(samples, -5, 99) == pytest.approx(2)


@given(st.from_regex(r"[0-9a-f]{8}-[0-9]{1,7}", fullmatch=True))
def test_a_request_takes_one_kilobyte_and_names_its_number(number: str) -> None:
    made = letters.request(number)

    assert len(json.dumps(made)) == 1024
    assert number in made["messages"][0]["content"]


@pytest.mark.parametrize(
    ("letter", "arguments"),
    [
        (letters.celery("x-1"), lambda body: body[0]),
        (letters.dramatiq("x-1"), lambda body: body["args"]),
        (letters.taskiq("x-1"), lambda body: body["args"]),
    ],
)
def test_every_task_gets_the_number_and_the_same_request(
    letter: letters.Letter, arguments: Callable[[object], object]
) -> None:
    assert arguments(json.loads(letter.body)) == ["x-1", letters.request("x-1")]


def test_warren_gets_a_request_of_its_contract_with_the_same_body() -> None:
    letter = letters.warren("x-1", _NOW, Dedupe.OFF, "standard.bulk")
    read = CompletionRequest.parse(
        Envelope(
            headers=letter.headers,
            correlation_id=letter.number,
            reply_to=letter.reply_to,
            priority=letter.priority,
        ),
        letter.body,
    )

    assert (read.submission_id, read.dedupe) == ("x-1", Dedupe.OFF)
    assert read.body == letters.plain("x-1").body
    assert letter.key == "standard.bulk"


def test_a_reply_that_comes_again_or_is_no_answer_is_counted() -> None:
    arrivals = Arrivals(b'"choices"')
    arrivals.note("1", b'{"choices": []}', 1.0)
    arrivals.note("1", b'{"choices": []}', 2.0)
    arrivals.note("2", b'{"error": {}}', 3.0)

    assert arrivals.at == {"1": 1.0, "2": 3.0}
    assert (arrivals.again, arrivals.wrong) == (1, 1)


def test_settings_go_into_their_table_or_make_one() -> None:
    text = '[store]\npath = "/x"\n\n[endpoints.main]\nbase_url = "u"\n'
    made = tomllib.loads(
        contestants.edited(
            text, {"store": ('durability = "power"',), "worker": ('log_level = "error"',)}
        )
    )

    assert made["store"] == {"path": "/x", "durability": "power"}
    assert made["endpoints"] == {"main": {"base_url": "u"}}
    assert made["worker"] == {"log_level": "error"}


def test_a_contestant_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no contestant nobody; there are bare, bare_priority"):
        contestants.chosen(["bare", "nobody"])


def test_contestants_have_names_of_their_own_and_the_peers_a_module_each() -> None:
    names = [each.name for each in contestants.ALL]

    assert len(set(names)) == len(names)
    folder = Path(bench.__file__).parent / "peers"
    assert all((folder / f"{each.name}.py").exists() for each in contestants.PEERS)


def test_every_publisher_has_a_way() -> None:
    assert {each.name for each in contestants.PUBLISHERS} == publishing.WAYS.keys()


def test_every_measurement_names_contestants_that_there_are() -> None:
    for each in measurements.MEASUREMENTS.values():
        assert contestants.chosen(each.names)


def _options(*arguments: str) -> measurements.Measurement:
    options = bench._parser().parse_args(arguments)
    return measurements.sized(options.measurements[0], options)


def _tasks(*arguments: str) -> list[measurements.Task]:
    return measurements.tasks(bench._parser().parse_args(arguments))


def test_sizes_of_the_command_line_come_before_those_of_the_name_and_of_quick() -> None:
    assert _options("memory").jobs == 40_000
    assert _options("memory", "--quick").jobs == 800
    assert _options("memory", "--quick", "--jobs", "7").jobs == 7
    assert _options("--paced-s", "0").paced_s == 0
    assert _options("--quick").rounds == 1


def test_a_list_that_is_given_twice_adds_up() -> None:
    sizes = ("--in-flight", "1,2,1", "--in-flight", "2,3")
    (task,) = _tasks("--only", "warren", "--only", "echo, bare", *sizes)

    assert task.sizes.in_flights == (1, 2, 3)
    assert list(dict.fromkeys(each.contestant.name for each in task.entrants)) == [
        "echo",
        "bare",
        "warren",
    ]


def test_quick_makes_nothing_larger_and_no_size_twice() -> None:
    assert _options("backlog", "--quick").backlogs == (1_000, 10_000)
    assert _options("memory", "--quick").paced_s == 0


def test_everyone_enters_at_each_size_under_a_name_of_its_own() -> None:
    sizes = _options("--processes", "1,2", "--backlogs", "10,20")
    found = list(measurements.entrants(sizes, ["bare", "warren"], 60, None))

    assert len({each.key for each in found}) == len(found) == 8
    assert {(each.course.processes, each.course.backlog) for each in found} == {
        (1, 10),
        (1, 20),
        (2, 10),
        (2, 20),
    }


def test_where_nothing_varies_an_entrant_is_called_by_its_contestants_name() -> None:
    assert [each.key for each in measurements.entrants(_options(), ["bare"], 60, None)] == ["bare"]


@pytest.mark.parametrize("wanted", contestants.ALL, ids=lambda each: each.name)
def test_what_is_added_to_warrens_configuration_makes_a_toml(
    wanted: contestants.Contestant | contestants.Warren | contestants.Publisher,
) -> None:
    if isinstance(wanted, contestants.Warren):
        text = '[store]\npath = "/x"\n\n[endpoints.main]\nbase_url = "u"\n'
        made = tomllib.loads(contestants.edited(text, wanted.settings))
        assert made.keys() >= wanted.settings.keys() - {
            key for key in wanted.settings if "." in key
        }


def test_the_plot_is_xml_and_bears_any_label() -> None:
    drawn = svg([Bar(label="a < b & c", value=10, least=8, most=12, ours=True)], "T & t")

    texts = [each.text for each in ET.fromstring(drawn).iter() if each.text]  # noqa: S314  # our own drawing
    assert "a < b & c" in texts
    assert "T & t" in texts


def test_a_long_label_has_room_before_its_bar() -> None:
    label = "a contestant with a name of so many letters, 2 processes"
    drawn = ET.fromstring(svg([Bar(label=label, value=1, least=1, most=1)], "t"))  # noqa: S314  # our own drawing
    bar = list(drawn.iter("{http://www.w3.org/2000/svg}rect"))[-1]

    assert float(bar.attrib["x"]) > 6 * len(label)


def test_the_clock_runs_from_the_first_call_or_from_the_last_job_that_is_skipped() -> None:
    arrived = [10.0, 11.0, 12.0, 14.0]
    with Watch({}) as watch:
        pass

    def clock(skipped: float, called: list[float], at_once: int = 2) -> tuple[float, float, int]:
        return _Drained(arrived=arrived, watch=watch, skipped=skipped, at_once=at_once).clock(
            called
        )

    assert clock(0, [9.5, 9.0]) == (9.0, 14.0, 4)
    assert clock(0, []) == (10.0, 14.0, 4)
    assert clock(0.25, [9.0]) == (10.0, 11.0, 1)
    assert clock(0.25, [9.0], 3) == (9.0, 14.0, 4)
    assert clock(0.5, [9.0], 1) == (9.0, 14.0, 4)


def test_the_longest_whisker_stays_in_the_picture() -> None:
    drawn = ET.fromstring(svg([Bar(label="a", value=1, least=0, most=900)], "t"))  # noqa: S314  # our own drawing
    (path,) = drawn.iter("{http://www.w3.org/2000/svg}path")

    assert float(path.attrib["d"].partition("H")[2]) < 900


def test_everything_is_asked_for_by_one_word_and_shares_an_upstream_where_it_can() -> None:
    wanted = _tasks("all")
    groups = measurements.by_upstream(wanted)

    assert {task.name for task in wanted} == measurements.MEASUREMENTS.keys()
    assert [[task.name for task in group] for group in groups][1:] == [["priority"], ["memory"]]
    assert sum(len(group) for group in groups) == len(wanted)
    assert all(task.about_s > 60 for task in wanted)


def test_calls_differ_in_length_where_slots_are_to_become_free_one_by_one() -> None:
    assert measurements.MEASUREMENTS["priority"].upstream == "uniform(0.5,1.5)"
    assert _options("priority", "--latency-s", "0.2").upstream == "uniform(0.1,0.3)"
    assert _options("peers").upstream == "fixed(0.045)"


def test_what_takes_longer_is_said_to_take_longer() -> None:
    whole, short = (sum(t.about_s for t in _tasks("all", "--rounds", n)) for n in ("4", "1"))

    assert whole == pytest.approx(4 * short)
    assert measurements.about_s("peers") == _tasks("peers")[0].about_s
    for more in (["--jobs", "8000"], ["--paced-s", "60"], ["--backlogs", "1000000"]):
        assert _tasks("peers", *more)[0].about_s > _tasks("peers")[0].about_s
    assert _tasks("peers", "--only", "echo")[0].about_s < _tasks("peers")[0].about_s / 5
    assert _tasks("priority", "--latency-s", "9")[0].about_s > _tasks("priority")[0].about_s


def test_the_help_says_how_long_everything_takes_and_how_it_takes_less() -> None:
    told = bench._parser().format_help()

    assert re.search(r"all of these; about \d+ min\n", told)
    assert re.search(r"about \d+ min +\./dev bench all --rounds 1\n", told)


def test_several_measurements_may_be_named_and_an_unknown_one_may_not() -> None:
    assert [task.name for task in _tasks("load", "peers", "load")] == ["load", "peers"]
    with pytest.raises(SystemExit):
        _tasks("laod")


def test_of_several_measurements_those_remain_in_which_somebody_takes_part() -> None:
    found = {
        task.name: [each.contestant.name for each in task.entrants]
        for task in _tasks("all", "--only", "sdk_one,echo")
    }

    assert found == {"peers": ["echo"], "publish": ["sdk_one"]}
    assert [each.contestant.name for each in _tasks("load", "--only", "echo")[0].entrants][:1] == [
        "echo"
    ]
    with pytest.raises(ValueError, match="no contestant nobody"):
        _tasks("all", "--only", "nobody")


def test_a_size_for_several_measurements_is_for_those_that_have_it() -> None:
    given = ("--backlogs", "7", "--processes", "3", "--urgent", "2", "--rounds", "1")
    found = {task.name: task.sizes for task in _tasks("all", *given)}

    assert {name for name, sizes in found.items() if sizes.backlogs == (7,)} == {
        "backlog",
        "priority",
    }
    assert {name for name, sizes in found.items() if sizes.processes == (3,)} == {"processes"}
    assert {name for name, sizes in found.items() if sizes.urgent} == {"priority"}
    assert {sizes.rounds for sizes in found.values()} == {1}
    assert _options("peers", "--backlogs", "7").backlogs == (7,)


def test_jobs_go_by_the_calls_in_flight_where_they_are_to() -> None:
    (task,) = _tasks("concurrency", "--only", "bare")

    assert [(each.course.in_flight, each.course.jobs) for each in task.entrants] == [
        (1, 100),
        (16, 1600),
        (200, 10_000),
        (1000, 10_000),
    ]
    (given,) = _tasks("concurrency", "--only", "bare", "--jobs", "70")
    assert {each.course.jobs for each in given.entrants} == {70}


def test_a_profile_has_a_file_of_its_own_for_each_size() -> None:
    (task,) = _tasks("backlog", "--only", "bare", "--profile", "p")
    paths = {each.course.profile for each in task.entrants}

    assert len(paths) == len(task.entrants)
    assert Path("p/backlog/bare__1_000_behind.folded") in paths


def test_a_setting_takes_the_place_of_one_with_its_key() -> None:
    text = "[tiers.standard]\nconcurrency = 16\nendpoints = []\n\n[http]\nconcurrency = 1\n"
    made = tomllib.loads(
        contestants.edited(text, {"tiers.standard": ("concurrency = 5", "bulk_concurrency = 6")})
    )

    assert made["tiers"]["standard"] == {
        "concurrency": 5,
        "bulk_concurrency": 6,
        "endpoints": [],
    }
    assert made["http"] == {"concurrency": 1}
