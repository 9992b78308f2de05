"""What Warren is to reach, beside what was measured. Pure: the goals are data, and the verdict is on documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from benchmarks.documents import Document, row
from benchmarks.grid import Grid
from benchmarks.loads import URGENT, key_of
from benchmarks.shown import ITS_OWN

Documents = Mapping[str, Document]
Measured = Callable[[Documents], float | None]

_WARREN: Final = "warren"


class Verdict(StrEnum):
    """How a goal stands."""

    STRETCH = "met, stretch too"
    MET = "met"
    MISSED = "MISSED"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A goal: the figure is to be at least, or at most, so much; `stretch` is what would be better still."""

    name: str
    measured: Measured
    at_least: float | None = None
    at_most: float | None = None
    stretch: float | None = None
    unit: str = ""

    def verdict(self, figure: float | None) -> Verdict:
        """Judge a figure; None: it was not measured."""
        if figure is None:
            return Verdict.UNKNOWN
        if not self._reaches(figure, self.at_least, self.at_most):
            return Verdict.MISSED
        if self.stretch is None:
            return Verdict.MET
        low, high = (self.stretch, None) if self.at_least is not None else (None, self.stretch)
        return Verdict.STRETCH if self._reaches(figure, low, high) else Verdict.MET

    @staticmethod
    def _reaches(figure: float, least: float | None, most: float | None) -> bool:
        return (least is None or figure >= least) and (most is None or figure <= most)

    def said(self, value: float | None) -> str:
        """Give a value of its unit as a text."""
        if value is None:
            return ""
        unit = "" if not self.unit else f" {self.unit}"
        return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:.3g}{unit}"  # noqa: PLR2004  # digits

    @property
    def wanted(self) -> str:
        """The goal as a text."""
        sign = ">=" if self.at_least is not None else "<="
        goal = self.at_least if self.at_least is not None else self.at_most
        more = f" (stretch {self.said(self.stretch)})" if self.stretch is not None else ""
        return f"{sign} {self.said(goal)}{more}"


def _figure(name: str, figure: str, **wanted: str | int) -> Measured:
    """Give a figure of a measurement's contestant, as a function of all documents."""

    def measured(found: Documents) -> float | None:
        if name not in found:
            return None
        there = row(found[name], **wanted)
        return None if there is None else there.get(figure) or None

    return measured


def _ratio(above: Measured, below: Measured) -> Measured:
    def measured(found: Documents) -> float | None:
        one, other = above(found), below(found)
        return one / other if one is not None and other else None

    return measured


def _warren(name: str, figure: str, **wanted: str | int) -> Measured:
    return _figure(name, figure, contestant=_WARREN, **wanted)


_TEN_THOUSAND: Final = {"in_flight": 10_000}
_JOBS, _CPU = "jobs_per_s", "cpu_us_per_job"

TARGETS: Final = (
    Target(
        name="everything on, 200 in flight: jobs/s of FastStream + aiohttp",
        measured=_ratio(
            _warren("peers", _JOBS, in_flight=200),
            _figure("peers", _JOBS, contestant="faststream_aiohttp", in_flight=200),
        ),
        at_least=1.2,
        stretch=1.5,
        unit="x",
    ),
    Target(
        name="everything on, 200 in flight: CPU of a job",
        measured=_warren("peers", _CPU, in_flight=200),
        at_most=750,
        stretch=600,
        unit="us",
    ),
    Target(
        name="everything on, 200 in flight: CPU of the bare floor",
        measured=_ratio(
            _warren("peers", _CPU, in_flight=200),
            _figure("peers", _CPU, contestant="bare", in_flight=200),
        ),
        at_most=1.5,
        unit="x",
    ),
    Target(
        name="10,000 in flight: jobs/s",
        measured=_warren("memory", _JOBS, **_TEN_THOUSAND),
        at_least=1200,
    ),
    Target(
        name="10,000 in flight: memory",
        measured=_warren("memory", "rss_mb", **_TEN_THOUSAND),
        at_most=500,
        unit="MB",
    ),
    Target(
        name="10,000 in flight over HTTP/2: memory",
        measured=_figure("memory", "rss_mb", contestant="warren_http2", **_TEN_THOUSAND),
        at_most=500,
        unit="MB",
    ),
    Target(
        name="10,000 in flight: CPU of that at 200",
        measured=_ratio(
            _warren("memory", _CPU, **_TEN_THOUSAND), _warren("concurrency", _CPU, in_flight=200)
        ),
        at_most=1.2,
        unit="x",
    ),
    Target(
        name="half load: added both ways, p50",
        measured=_warren("load", key_of("added", "p50", "50%")),
        at_most=5,
        unit="ms",
    ),
    Target(
        name="half load: added both ways, p99",
        measured=_warren("load", key_of("added", "p99", "50%")),
        at_most=25,
        unit="ms",
    ),
    Target(
        name="high priority behind 100,000: from a free slot to its call, p99",
        measured=_warren("priority", key_of("slot", "p99", URGENT), backlog=100_000),
        at_most=50,
        unit="ms",
    ),
    Target(
        name="beside 100,000 in the bulk lane: from a free slot to its call, p99",
        measured=_figure(
            "priority", key_of("slot", "p99", URGENT), contestant="warren_bulk", backlog=100_000
        ),
        at_most=50,
        unit="ms",
    ),
    Target(
        name="before 1,000,000 others: CPU of that before 1,000",
        measured=_ratio(
            _warren("backlog", _CPU, backlog=1_000_000), _warren("backlog", _CPU, backlog=1_000)
        ),
        at_most=1.1,
        unit="x",
    ),
    Target(
        name="two processes: jobs/s of one",
        measured=_ratio(
            _warren("processes", _JOBS, processes=2), _warren("processes", _JOBS, processes=1)
        ),
        at_least=1.6,
        unit="x",
    ),
)


def judged(found: Documents) -> Iterator[tuple[Target, float | None, Verdict]]:
    """Give every goal with what was measured and how it stands."""
    for target in TARGETS:
        figure = target.measured(found)
        yield target, figure, target.verdict(figure)


def missed(found: Documents) -> Sequence[Target]:
    """Give the goals that were measured and are missed."""
    return [target for target, _, verdict in judged(found) if verdict is Verdict.MISSED]


def caution(found: Documents) -> str | None:
    """Say in which measurements something else than Warren bounded its figures; None: in none."""
    names = [
        name
        for name, document in found.items()
        if any(
            each["contestant"].startswith(_WARREN) and each["bottleneck"] in ITS_OWN
            for each in document["contestants"]
        )
    ]
    if not names:
        return None
    return f"The machine or the benchmark bounded Warren in {', '.join(names)}: what is missed there says little of it."


def grid(found: Documents) -> Grid:
    """Give the table of goals."""
    return Grid(
        title="targets",
        heads=("target", "wanted", "measured", "verdict"),
        rows=[
            (target.name, target.wanted, target.said(figure), verdict.value)
            for target, figure, verdict in judged(found)
        ],
    )
