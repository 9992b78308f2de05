"""The chaos run: what it takes, what it gives, and that no experiment takes the others with it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import nodes, page, runner
from tests.chaos.__main__ import main
from tests.chaos.catalogue import EXPERIMENTS
from tests.chaos.experiment import Bound
from tests.chaos.options import read
from tests.faults.vhost import ROOT
from tests.unit.chaos.fakes import experiment

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(nodes, "_HOME", tmp_path / "chaos")

    def go(*arguments: str, only: tuple[str, ...]) -> int:
        return main(arguments, [experiment(name) for name in only])

    return go


def evidence(tmp_path: Path, name: str) -> Path:
    (found,) = (tmp_path / "chaos").glob(f"run-*/{name}")
    return found


def test_a_run_that_keeps_every_promise_ends_with_0_and_leaves_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--seed", "5", only=("kept",)) == 0
    told = capsys.readouterr().out
    assert "seed 5" in told
    assert "1 of 1 kept" in told
    assert "Redis 7.0.15" in told
    assert list((tmp_path / "chaos").iterdir()) == []


def test_a_broken_bound_is_told_and_ends_with_1_and_the_others_go_on(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(only=("broken", "kept")) == 1
    told = capsys.readouterr().out
    assert "lost 2 of at most 0: BROKEN; extra calls 3 of at most 16" in told
    assert "1 of 2 kept" in told
    assert (evidence(tmp_path, "broken") / "evidence").exists()


def test_an_experiment_that_fails_is_a_row_with_its_error_and_the_others_go_on(
    run: Run, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    assert run("--json", str(figures), only=("failing", "kept")) == 1
    failed, kept = json.loads(figures.read_text())["experiments"]
    assert (failed["verdict"], failed["error"]) == ("FAILED", "ValueError: no such | luck")
    assert kept["verdict"] == "kept"
    assert "in failing" in (evidence(tmp_path, "failing") / "traceback.txt").read_text()


@pytest.mark.parametrize(
    ("name", "error"),
    [("hanging", "was not done after"), ("stubborn", "not even when it was cancelled")],
)
def test_an_experiment_that_hangs_is_ended_and_has_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: str
) -> None:
    monkeypatch.setattr(runner, "_TIMES", 0.0)
    monkeypatch.setattr(runner, "_ON_TOP_S", 0.2)
    monkeypatch.setattr(runner, "_TO_LEAVE_S", 0.2 if name == "stubborn" else 30)
    figures = tmp_path / "figures.json"
    assert run("--json", str(figures), only=(name, "kept")) == 1
    hung, kept = json.loads(figures.read_text())["experiments"]
    assert error in hung["error"]
    assert kept["verdict"] == "kept"


def test_a_process_that_a_failed_experiment_forgot_is_ended(run: Run, tmp_path: Path) -> None:
    assert run(only=("littering",)) == 1
    pid = int((evidence(tmp_path, "littering") / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_run_that_is_told_to_end_does_so_and_says_that_it_was_given_up(
    tmp_path: Path,
) -> None:
    program = (
        "import pathlib, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from tests.chaos import nodes; from tests.chaos.__main__ import as_process;"
        "from tests.unit.chaos.fakes import experiment; nodes._HOME = pathlib.Path(sys.argv[1]);"
        "sys.exit(as_process([], [experiment('kept'), experiment('hanging')]))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    while b"2/2 hanging" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    told, _ = await process.communicate()
    assert process.returncode == 130
    assert b"1000 things" in told  # what was measured so far
    assert b"given up" in told
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


def test_the_figures_hold_all_that_is_needed_to_repeat_the_run(run: Run, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    run("--json", str(figures), "--seed", "7", "--minutes", "1", only=("broken",))
    found = json.loads(figures.read_text())
    assert (found["seed"], found["minutes"], found["kept"]) == (7, 1, False)
    assert {"Warren", "Python"} <= found["versions"].keys()
    (row,) = found["experiments"]
    assert row["bounds"][0] == {"name": "lost", "measured": 2, "at_most": 0, "broken": True}


def test_the_same_seed_draws_the_same_chance_and_each_experiment_its_share(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for seed in "1", "1", "2":
        run("--seed", seed, "--minutes", "0.5", only=("kept",))
        lines += re.findall(r"kept in .*: (\d+ things, chance \d+)", capsys.readouterr().out)
    assert lines[0] == lines[1] != lines[2]
    assert all(line.startswith("250 things") for line in lines)


def test_the_docs_are_written_only_when_asked_and_only_between_the_markers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "page.md"
    shown.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    monkeypatch.setattr("tests.chaos.__main__.PAGE", shown)
    run(only=("kept",))
    assert "old" in shown.read_text()
    run("--write-docs", "--seed", "3", only=("kept", "failing"))
    text = shown.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert "seed 3" in text
    assert "ValueError: no such \\| luck | FAILED" in text


@pytest.mark.parametrize(
    "text", ["no markers", f"{page.BEGIN}\n", f"{page.END}\n{page.BEGIN}\n"], ids=len
)
def test_a_page_without_its_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    shown = tmp_path / "page.md"
    shown.write_text(text)
    with pytest.raises(ValueError, match="must have a line"):
        page.write_table(shown, "table")
    assert shown.read_text() == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--minutes", "0"],
        ["--minutes", "nan"],
        ["--seed", "x"],
        ["--only", "nothing"],
        ["--json", "no/such/folder/file"],
        ["--json", "."],
        ["--only", "kept", "--write-docs"],
        ["--ci", "--only", "failing"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read(arguments, [experiment("kept"), experiment("failing", in_ci=False)])
    assert end.value.code == 2
    assert "./dev chaos: error: " in capsys.readouterr().err


def test_the_minutes_are_shared_in_proportion_by_what_runs() -> None:
    catalogue = [experiment("kept", minutes=20), experiment("broken", minutes=10, in_ci=False)]
    assert read([], catalogue).minutes == 30
    assert read([], catalogue).scale == 1
    assert read(["--minutes", "3"], catalogue).scale == pytest.approx(0.1)
    assert read(["--only", "broken"], catalogue).minutes == 10
    assert read(["--only", "broken", "--minutes", "1"], catalogue).scale == pytest.approx(0.1)
    assert [each.name for each in read(["--ci"], catalogue).experiments] == ["kept"]


def test_a_bound_that_is_no_number_is_broken() -> None:
    assert Bound(name="lost", measured=float("nan"), at_most=0).broken
    assert not Bound(name="lost", measured=0, at_most=0).broken


def test_every_experiment_has_a_name_of_its_own_and_a_function_that_is_there() -> None:
    assert len({each.name for each in EXPERIMENTS}) == len(EXPERIMENTS)
    for each in EXPERIMENTS:
        module, _, name = each.run.partition(":")
        __import__(module, fromlist=[name])


@pytest.mark.parametrize("path", ["docs/testing.md", "stack/commands.py"])
def test_how_long_the_full_run_takes_is_told_as_the_catalogue_has_it(path: str) -> None:
    minutes = round(sum(each.minutes for each in EXPERIMENTS), -1)
    assert f"about {minutes:.0f} minutes" in (ROOT / path).read_text(encoding="utf-8")
