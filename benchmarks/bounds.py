"""What a benchmark promises: figures, each with the bound that it must keep, as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A figure, and what it must be: below `below`, above `above`, or neither more nor less than `exactly`."""

    name: str
    figure: float
    below: float | None = None
    above: float | None = None
    exactly: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the figure is as it must be."""
        return (
            (self.below is None or self.figure < self.below)
            and (self.above is None or self.figure > self.above)
            and (self.exactly is None or self.figure == self.exactly)
        )

    def __str__(self) -> str:
        wanted = {"below": self.below, "above": self.above, "exactly": self.exactly}
        must = ", ".join(f"{how} {value:g}" for how, value in wanted.items() if value is not None)
        return f"{'kept  ' if self.kept else 'BROKEN'} {self.name}: {self.figure:g}, must be {must}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a benchmark measured, and its bounds."""

    figures: Mapping[str, object]
    bounds: Sequence[Bound]

    @property
    def kept(self) -> bool:
        """Whether every bound was kept."""
        return all(bound.kept for bound in self.bounds)


def conclude(report: Report, file: Path | None) -> int:
    """Print a report, write it into a file if there is one, and give the exit status: 1 if a bound was broken."""
    for name, value in report.figures.items():
        print(f"{name:28} {value}")
    for bound in report.bounds:
        print(bound)
    if file is not None:
        bounds = [{**asdict(bound), "kept": bound.kept} for bound in report.bounds]
        document = {"figures": dict(report.figures), "bounds": bounds, "kept": report.kept}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if report.kept else 1
