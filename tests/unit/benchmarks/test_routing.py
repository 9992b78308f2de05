import json
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.routing import main
from benchmarks.routing_figures import FLOORS, POLICIES, Figures, measure
from benchmarks.routing_picture import picture
from benchmarks.routing_scenarios import SCENARIOS
from worker.core.routing import DEFAULT, Policy

JOBS = 3000
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@cache
def taken(scenario: str, policy: str = DEFAULT, workers: int = 4) -> Figures:
    return measure(BY_NAME[scenario], policy, workers=workers, jobs=JOBS, seed=1)


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    again = measure(BY_NAME["failing"], DEFAULT, workers=4, jobs=JOBS, seed=1)
    other = measure(BY_NAME["failing"], DEFAULT, workers=4, jobs=JOBS, seed=2)
    assert again == taken("failing") != other


@pytest.mark.parametrize("workers", [1, 16])
def test_equals_get_their_weights_share_within_a_tenth(workers: int) -> None:
    assert taken("equal", workers=workers).off_weights < 0.1


@pytest.mark.parametrize("scenario", ["slow", "recovers", "small"])
def test_the_slow_one_gets_less_and_jobs_are_quicker_than_by_load_alone(scenario: str) -> None:
    ours, by_load = taken(scenario), taken(scenario, Policy.LEAST_LOAD)
    assert ours.p99_s < by_load.p99_s
    assert ours.odd_share < by_load.odd_share


def test_one_in_twenty_calls_at_most_goes_to_one_that_is_slow_or_fails_and_none_starves() -> None:
    for scenario in ("slow", "recovers", "hangs", "failing", "down"):
        assert 0 < taken(scenario).odd_share < 0.05


@pytest.mark.parametrize(("scenario", "times"), [("failing", 5), ("down", 20), ("limited", 20)])
def test_far_fewer_calls_are_wasted_than_without_looking(scenario: str, times: int) -> None:
    for floor in FLOORS:
        assert taken(scenario).wasted * times < taken(scenario, floor).wasted


def test_a_limited_endpoint_refuses_fewer_than_one_call_in_a_hundred_at_full_use() -> None:
    limited = taken("limited")
    assert limited.wasted < 0.01
    assert limited.odd_share == pytest.approx(1 / 6, rel=0.1)  # its limit is half of a third


def test_a_fresh_endpoint_is_not_overrun() -> None:
    assert taken("fresh").at_first < 1.5


def test_an_endpoint_that_recovered_gets_calls_again() -> None:
    recovered = measure(BY_NAME["recovers"], DEFAULT, workers=4, jobs=8000, seed=1)
    assert recovered.off_weights < 0.3  # over the 130 s that follow


def test_the_picture_has_a_dot_in_each_panel_for_every_figure() -> None:
    figures = [taken("slow", policy) for policy in POLICIES]
    drawn = ET.fromstring(picture(figures, says="a & b"))  # noqa: S314  # our own
    dots = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 3 * len(figures) + len(POLICIES)


def test_the_command_prints_a_table_and_writes_what_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, plot = tmp_path / "figures.json", tmp_path / "plot.svg"
    asked = f"routing --jobs 1000 --only equal --policies ewma --workers 1 --json {figures} --plot {plot}"
    monkeypatch.setattr(sys, "argv", asked.split())
    assert main() == 0
    assert "three that are alike" in capsys.readouterr().out
    (row,) = json.loads(figures.read_text())
    assert (row["scenario"], row["policy"], row["workers"]) == ("equal", "ewma", 1)
    assert plot.read_text().startswith("<svg")


def test_the_command_names_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["routing", "--only", "sloow"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no sloow" in capsys.readouterr().err
