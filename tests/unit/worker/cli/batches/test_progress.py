from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from worker.cli.batches.progress import Bar, Log, Pace, Tally, display


@dataclass
class Watch:
    s: float = 0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.s


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (Tally(), "$0.0000"),
        (Tally(cost=Decimal("1.23456")), "$1.2346"),
        (Tally(unpriced=2), "cost unknown"),
        (Tally(cost=Decimal("0.5"), unpriced=1200), "$0.5000 (+ 1,200 of unknown cost)"),
    ],
)
def test_a_price_says_what_is_not_known(tally: Tally, text: str) -> None:
    assert tally.price() == text


def test_the_rate_and_the_time_left_are_those_of_this_run() -> None:
    watch = Watch()
    pace = Pace(total=100, clock=watch)
    watch.s = 10
    tally = Tally(answered_before=40, failed_before=2, answered=18, failed=2, flawed=8, cached=3)
    text = pace.text(tally)
    assert "2.0/s" in text
    assert "3 cached" in text
    assert "12 failed" in text
    assert "0:00:15 left" in text


def test_without_a_total_or_a_result_no_time_left_is_told() -> None:
    watch = Watch(s=5)
    assert "left" not in Pace(total=None, clock=watch).text(Tally(answered=3))
    assert "left" not in Pace(total=9, clock=watch).text(Tally())


def test_a_log_gets_lines_and_no_terminal_codes(capsys: pytest.CaptureFixture[str]) -> None:
    log = display(total=1000, clock=Watch())
    assert isinstance(log, Log)
    with log.shown():
        log.show(Tally(answered=20))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("warren: 20 of 1,000 lines")
    assert "\x1b" not in told.err


def test_a_terminal_gets_a_bar_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(Pace(total=1000, clock=Watch()))
    with bar.shown():
        bar.show(Tally(answered=20))
    told = capsys.readouterr()
    assert told.out == ""
    assert "20/1000 20.0/s, 0 cached" in told.err
