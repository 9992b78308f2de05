"""A benchmark's exit status tells whether its bounds were kept."""

import json
from pathlib import Path

import pytest

from benchmarks.bounds import Bound, Report, conclude

GOOD = Bound(name="share", figure=0.1, below=0.2)
BAD = Bound(name="use", figure=0.95, above=0.95)


@pytest.mark.parametrize(
    ("bound", "kept"),
    [
        (GOOD, True),
        (BAD, False),
        (Bound(name="share", figure=0.2, below=0.2), False),
        (Bound(name="dead", figure=0, exactly=0), True),
        (Bound(name="dead", figure=1, exactly=0), False),
    ],
)
def test_a_figure_on_the_bound_itself_breaks_it(bound: Bound, *, kept: bool) -> None:
    assert bound.kept is kept


def test_one_broken_bound_gives_status_1_and_the_file_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    assert conclude(Report(figures={"calls": 5}, bounds=[GOOD]), None) == 0
    assert conclude(Report(figures={"calls": 5}, bounds=[GOOD, BAD]), file) == 1
    written = json.loads(file.read_text())
    assert written["figures"] == {"calls": 5}
    assert [(each["name"], each["kept"]) for each in written["bounds"]] == [
        ("share", True),
        ("use", False),
    ]
    assert "BROKEN use: 0.95, must be above 0.95" in capsys.readouterr().out
