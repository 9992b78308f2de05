"""The figures of `./dev bench` as tables: of everybody, of latencies, and of one contestant's sizes beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.documents import Document, Row
from benchmarks.grid import Grid
from benchmarks.loads import WAYS, key_of

# Column, figure, digits after the point.
_COLUMNS: Final = (
    ("jobs/s", "jobs_per_s", 0),
    ("CPU us/job", "cpu_us_per_job", 0),
    ("RSS MB", "rss_mb", 0),
    ("p50 ms", "latency_p50_ms", 1),
    ("p99 ms", "latency_p99_ms", 1),
    ("start ms", "start_ms", 0),
    ("calls/job", "calls_per_job", 2),
)
# Without jobs at a steady rate there is no latency; before others, calls are not those of the jobs alone.
_MAY_BE_MISSING: Final = frozenset(
    {"latency_p50_ms", "latency_p99_ms", "calls_per_job", "start_ms"}
)
# What entrants of one contestant may differ in, and how that is said.
SIZES: Final = {"in_flight": "in flight", "backlog": "behind", "processes": "processes"}
# What the figure says more of the benchmark than of the contestant.
_ITS_OWN: Final = frozenset({"simulator", "collector", "machine"})


def grids(found: Document) -> list[Grid]:
    """Give the tables that there is something to say in."""
    made = [everybody(found), loads(found), compared(found)]
    return [each for each in made if each is not None]


def caption(found: Document) -> str:
    """Say what was measured, in a line."""
    in_flight = sorted({row["in_flight"] for row in found["contestants"]})
    jobs = sorted({row["jobs"] for row in found["contestants"]})
    numbers = ", ".join(f"{each:,}" for each in in_flight)
    counted = " to ".join(f"{each:,}" for each in dict.fromkeys((jobs[0], jobs[-1])))
    return (
        f"{found['measurement']}: {counted} jobs, {numbers} in flight, an upstream of "
        f"{_upstream(found)} ms; median of {found['rounds']}, least to most"
    )


def _upstream(found: Document) -> str:
    middle, jitter = found["upstream_ms"], found.get("upstream_jitter", 0)
    if not jitter:
        return f"{middle:,.0f}"
    return f"{middle * (1 - jitter):,.0f} to {middle * (1 + jitter):,.0f}"


def limits(found: Document) -> list[str]:
    """Tell of the figures that the benchmark bounded and not the contestant, a line for each part; of none, one line that says so."""
    by_part: dict[str, list[Row]] = {}
    for row in found["contestants"]:
        if row["bottleneck"] in _ITS_OWN:
            by_part.setdefault(row["bottleneck"], []).append(row)
    if not by_part:
        return ["No figure was bounded by the simulator, the collector or the machine."]
    return [
        f"Bounded by the {part}, not by the contestant: {'; '.join(map(_busy, rows))}."
        for part, rows in by_part.items()
    ]


def _busy(row: Row) -> str:
    """Give a row's title with how many cores its own processes took, and what else ran."""
    cores = row["cores"]
    return (
        f"{row['title']} ({cores.get('worker', 0):.2f} cores, others {cores.get('others', 0):.2f})"
    )


def everybody(found: Document) -> Grid:
    """Give the table of all figures, the contestants in their order."""
    return Grid(
        title=caption(found),
        heads=("contestant", *(head for head, _, _ in _COLUMNS), "limited by"),
        rows=[
            (
                row["title"],
                *(_cell(row, name, digits) for _, name, digits in _COLUMNS),
                row["bottleneck"],
            )
            for row in found["contestants"]
        ],
    )


def loads(found: Document) -> Grid | None:
    """Give the table of latencies, a row for each contestant and rate; None where there are none."""
    rows = [(row, load) for row in found["contestants"] for load in row["curves"]]
    ways = {
        way: said
        for way, said in WAYS.items()
        if any(key_of(way, "p50", load) in row for row, load in rows)
    }
    if not rows:
        return None
    columns = [(way, told) for way in ways for told in ("p50", "p99")]
    return Grid(
        title="latencies in ms, at a rate, at a share of each one's own jobs/s, or of high priority",
        heads=("contestant", "at", *(f"{ways[way]} {told}" for way, told in columns)),
        rows=[
            (row["title"], load, *(_cell(row, key_of(*column, load), 1) for column in columns))
            for row, load in rows
        ],
        words=2,
    )


def compared(found: Document) -> Grid | None:
    """Give the table of each contestant's sizes against its first; None where there is one size."""
    size = varied(found["contestants"])
    if size is None:
        return None
    first: dict[str, Row] = {}
    rows = []
    for row in found["contestants"]:
        base = first.setdefault(row["contestant"], row)
        rows.append(
            (
                row["what"],
                f"{row[size]:,}",
                f"{row['jobs_per_s']:,.0f}",
                f"{_ratio(row, base, 'jobs_per_s'):.2f}",
                f"{row['cpu_us_per_job']:,.0f}",
                f"{_ratio(row, base, 'cpu_us_per_job'):.2f}",
                f"{row['rss_mb']:,.0f}",
            )
        )
    heads = ("contestant", SIZES[size], "jobs/s", "x first", "CPU us/job", "x first", "RSS MB")
    return Grid(title="each against its own first", heads=heads, rows=rows)


def varied(rows: Sequence[Row]) -> str | None:
    """Give what the entrants of one contestant differ in; None: in nothing."""
    for size in SIZES:
        if len({row[size] for row in rows}) > 1:
            return size
    return None


def _ratio(row: Row, base: Row, name: str) -> float:
    return float(row[name] / base[name]) if base[name] else 0.0


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    if name not in row or (name in _MAY_BE_MISSING and not row[name]):
        return ""
    median = f"{row[name]:,.{digits}f}"
    least, most = row["spread"][name]
    if least == most:
        return median
    return f"{median}\n{least:,.{digits}f}-{most:,.{digits}f}"
