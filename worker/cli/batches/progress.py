"""How far a batch is: a bar on a terminal, a line now and then in a log. On standard error."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from worker.ports import Clock

_BAR_S: Final = 0.25
_LOG_S: Final = 10.0
_LEAST_S: Final = 1.0  # before that a rate says nothing
_BAR_WIDTH: Final = 10  # leaves room for the words in 80 columns


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of a run, by line of the input.

    `answered_before` and `failed_before` have their result from an earlier run; `answered` and `failed` got it in
    this one, `flawed` have none. `cost` is what the calls of this run's jobs cost, as far as prices are known, in
    US dollars.
    """

    answered_before: int = 0
    failed_before: int = 0
    answered: int = 0
    failed: int = 0
    flawed: int = 0
    cached: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    @property
    def results(self) -> int:
        """Lines with a result in the output."""
        return self.answered_before + self.failed_before + self.answered + self.failed

    @property
    def lines(self) -> int:
        """Lines that are done with, in this run or before."""
        return self.results + self.flawed

    def price(self) -> str:
        """Give the cost for people."""
        if self.unpriced and not self.cost:
            return "cost unknown"
        more = f" (+ {self.unpriced:,} of unknown cost)" if self.unpriced else ""
        return f"${self.cost:.4f}{more}"


class Display(Protocol):
    """Shows a tally every `every_s` seconds."""

    every_s: float

    def shown(self) -> AbstractContextManager[object]:
        """Be there as long as the context is."""

    def show(self, tally: Tally) -> None:
        """Show how far it is."""


def display(*, total: int | None, clock: Clock) -> Display:
    """Give the display that fits standard error; `total` lines, if known."""
    pace = Pace(total=total, clock=clock)
    return Bar(pace) if sys.stderr.isatty() else Log(pace)


class Pace:
    """How fast this run is, and how long it still takes at that."""

    def __init__(self, *, total: int | None, clock: Clock) -> None:
        self.total = total
        self._clock = clock
        self._began = clock.monotonic()

    def text(self, tally: Tally) -> str:
        """Give the counts, the rate, the cost and the time left in words."""
        elapsed_s = max(self._clock.monotonic() - self._began, _LEAST_S)
        rate = (tally.answered + tally.failed) / elapsed_s
        facts = [f"{rate:.1f}/s", f"{tally.cached:,} cached"]
        facts.append(f"{tally.failed_before + tally.failed + tally.flawed:,} failed")
        facts.append(tally.price())
        if self.total is not None and rate:
            left = timedelta(seconds=round(max(0, self.total - tally.lines) / rate))
            facts.append(f"{left} left")
        return ", ".join(facts)


class Bar:
    """A progress bar, for a terminal."""

    every_s = _BAR_S

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._progress = Progress(
            BarColumn(bar_width=_BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._bar = self._progress.add_task("", total=pace.total)

    def shown(self) -> AbstractContextManager[object]:
        """Be there as long as the context is."""
        return self._progress

    def show(self, tally: Tally) -> None:
        """Move the bar."""
        text = self._pace.text(tally)
        self._progress.update(self._bar, completed=tally.lines, description=text)


class Log:
    """A line now and then, for a log."""

    every_s = _LOG_S

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def shown(self) -> AbstractContextManager[object]:
        """Nothing stays."""
        return nullcontext()

    def show(self, tally: Tally) -> None:
        """Write one line."""
        total = "" if self._pace.total is None else f" of {self._pace.total:,}"
        click.echo(f"warren: {tally.lines:,}{total} lines, {self._pace.text(tally)}", err=True)
