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
# What the columns mean.
READING: Final = {
    "jobs/s": "from the first call to the last reply of jobs that waited in the queue",
    "CPU us/job": "user and system time of the process and its children, from /proc",
    "RSS MB": "the most that they had in memory; several processes: the sum, shared pages counted each time",
    "p50, p99 ms": "publish to reply of jobs at a steady rate that all of them bear, the upstream's time included",
    "start ms": "from the start of the process to the first reply",
    "calls/job": "more than 1: some were made twice",
    "limited by": "worker: its CPU; waiting: nothing was busy, so it waited for the upstream or for itself; simulator, collector, "
    "machine: the figure says more of the benchmark, or of what else ran, than of the contestant",
    "reply": "of latencies: from publish to reply, the upstream's time included",
    "call, back": "from publish to the call, and from the call's end to the reply",
    "added": "both together: what is added to the upstream's own time",
    "slot": "of an urgent job: from the first end of a call after its publish, a free slot, to its own call",
    "calls in between": "of an urgent job: how many calls began after that free slot and before its own; a busy machine delays "
    "calls, but lets none of them pass",
}
ONCE: Final = (
    "Where 1 and 2 processes, or numbers in flight, are compared, the clock runs from a quarter of the jobs until the last one has "
    "begun. Each figure is the median of the rounds, the least and the most below it. Contestants take turns within each round, so "
    "that what else the machine does meets all alike. Compare figures of one run only."
)
# Without jobs at a steady rate there is no latency; before others, calls are not those of the jobs alone.
_MAY_BE_MISSING: Final = frozenset(
    {"latency_p50_ms", "latency_p99_ms", "calls_per_job", "start_ms"}
)
# What entrants of one contestant may differ in, and how that is said.
SIZES: Final = {"in_flight": "in flight", "backlog": "behind", "processes": "processes"}
_COMPARED: Final = {"jobs/s": "jobs_per_s", "CPU": "cpu_us_per_job", "RSS": "rss_mb"}
# What the figure says more of the benchmark than of the contestant.
ITS_OWN: Final = frozenset({"simulator", "collector", "machine"})


def grids(found: Document) -> list[Grid]:
    """Give the tables that there is something to say in."""
    made = [everybody(found), loads(found), compared(found)]
    return [each for each in made if each is not None]


def caption(found: Document) -> str:
    """Say what was measured, in a line."""
    rows = found["contestants"]
    jobs = sorted({row["jobs"] for row in rows})
    backlogs = {row["backlog"] for row in rows} - {0}
    numbers = ", ".join(f"{each:,}" for each in sorted({row["in_flight"] for row in rows}))
    said = [" to ".join(f"{each:,}" for each in dict.fromkeys((jobs[0], jobs[-1]))) + " jobs"]
    if len(backlogs) == 1:
        said.append(f"{backlogs.pop():,} more behind them")
    if found["measurement"] != "publish":  # where nobody is called
        said += [f"{numbers} in flight", f"an upstream of {_upstream(found)} ms"]
    return f"{found['measurement']}: {', '.join(said)}; median of {found['rounds']}, least to most"


def _upstream(found: Document) -> str:
    middle, jitter = found["upstream_ms"], found.get("upstream_jitter", 0)
    if not jitter:
        return f"{middle:,.0f}"
    return f"{middle * (1 - jitter):,.0f} to {middle * (1 + jitter):,.0f}"


def limits(found: Document) -> list[str]:
    """Tell of the figures that the benchmark bounded and not the contestant, a line for each part; of none, one line that says so."""
    by_part: dict[str, list[Row]] = {}
    for row in found["contestants"]:
        if row["bottleneck"] in ITS_OWN:
            by_part.setdefault(row["bottleneck"], []).append(row)
    if not by_part:
        return ["No figure was bounded by the simulator, the collector or the machine."]
    return [
        f"Bounded by the {part}, not by the contestant: {_all_or_each(rows, found)}."
        for part, rows in by_part.items()
    ]


def _all_or_each(rows: Sequence[Row], found: Document) -> str:
    if len(rows) == 1 or len(rows) < len(found["contestants"]):
        return "; ".join(map(_busy, rows))
    others = [row["cores"].get("others", 0) for row in rows]
    return f"everyone (others {min(others):.2f} to {max(others):.2f} cores)"


def _busy(row: Row) -> str:
    """Give a row's title with how many cores its own processes took, and what else ran."""
    cores = row["cores"]
    return (
        f"{row['title']} ({cores.get('worker', 0):.2f} cores, others {cores.get('others', 0):.2f})"
    )


def everybody(found: Document) -> Grid:
    """Give the table of all figures that somebody has, the contestants in their order."""
    rows = found["contestants"]
    columns = [
        (head, cells)
        for head, name, digits in _COLUMNS
        if any(cells := [_cell(row, name, digits) for row in rows])
    ]
    return Grid(
        title=caption(found),
        heads=("contestant", *(head for head, _ in columns), "limited by"),
        rows=[
            (row["title"], *(cells[number] for _, cells in columns), row["bottleneck"])
            for number, row in enumerate(rows)
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
                *(f"{_ratio(row, base, name):.2f}" for name in _COMPARED.values()),
            )
        )
    heads = ("contestant", SIZES[size], *_COMPARED)
    return Grid(title="each as a multiple of its own first", heads=heads, rows=rows)


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
