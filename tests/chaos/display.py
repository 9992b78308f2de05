"""What a person sees while it runs: a moving line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.chaos import report
from tests.chaos.experiment import Experiment
from tests.chaos.result import Row

# Where nothing can be overwritten, a line is not repeated sooner.
_QUIET_S: Final = 30.0


class Display:
    """Tells which experiment runs, since when, of about how long, and how far it is."""

    def __init__(
        self, console: Console, experiments: Sequence[Experiment], *, scale: float
    ) -> None:
        self._console = console
        self._count = len(experiments)
        self._number = 0
        self._scale = scale
        self._told_at = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[about]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._line = self._progress.add_task("", about="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, experiment: Experiment) -> None:
        """An experiment begins."""
        self._number += 1
        self._told_at = time.monotonic()
        about = f"of about {report.duration(experiment.minutes * 60 * self._scale)}"
        self._name = f"{self._number}/{self._count} {experiment.name}"
        self._progress.reset(self._line, description=self._name, about=about)
        if not self._console.is_terminal:
            self._console.print(f"── {self._name}: {experiment.title} ({about[3:]})", markup=False)

    def tell(self, text: str) -> None:
        """Say how far it is."""
        self._progress.update(self._line, description=f"{self._name}: {text}")
        if not self._console.is_terminal and time.monotonic() - self._told_at >= _QUIET_S:
            self._told_at = time.monotonic()
            self._console.print(f"   {text}", markup=False)

    def end(self, row: Row) -> None:
        """An experiment has ended: one line of what came out."""
        _, _, work, measured, verdict, took = report.cells(row)
        self._console.print(
            f"{row.experiment.name}: {verdict} in {took}: {work}: {measured}",
            style=None if row.kept else "bold red",
            markup=False,
            soft_wrap=True,
        )
