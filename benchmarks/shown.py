"""The figures of `./dev bench` as a table for a terminal and as plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmarks.bars import Bar, svg

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
_PLOTS: Final = {
    "jobs_per_s": "Jobs a second",
    "cpu_us_per_job": "CPU for each job, in microseconds",
    "rss_mb": "Memory, RSS in MB",
}


def tables(
    rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], caption: str
) -> list[Table]:
    """Give the tables that there is something to say in."""
    further = loads(rows, titles)
    return [table(rows, titles, caption), *([] if further is None else [further])]


def table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], caption: str) -> Table:
    """Give the table, the contestants in the order of `rows`."""
    made = Table(title=caption, title_justify="left")
    made.add_column("contestant", no_wrap=True)
    for head, _, _ in _COLUMNS:
        made.add_column(head, justify="right", no_wrap=True)
    made.add_column("limited by", no_wrap=True)
    for row in rows:
        cells = [_cell(row, name, digits) for _, name, digits in _COLUMNS]
        made.add_row(titles[row["name"]], *cells, row["bottleneck"])
    return made


def loads(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Table | None:
    """Give the table of latencies in ms at further rates; None where there were none."""
    names = list(rows[0]["loads"]) if rows else []
    if not names:
        return None
    made = Table(
        title="ms from publish to reply, at a share of each one's own jobs/s or at a priority",
        title_justify="left",
    )
    made.add_column("contestant", no_wrap=True)
    for name in names:
        made.add_column(_load_head(name), justify="right", no_wrap=True)
    for row in rows:
        made.add_row(titles[row["name"]], *(_cell(row, name, 1) for name in names))
    return made


def _load_head(name: str) -> str:
    """Give "p99 at 90%" for "latency_p99_ms_at_90%"."""
    return name.removeprefix("latency_").replace("_ms_at_", " at ")


def _cell(row: Mapping[str, Any], name: str, digits: int) -> str:
    if name in _MAY_BE_MISSING and not row[name]:
        return ""
    median = f"{row[name]:,.{digits}f}"
    least, most = row["spread"][name]
    if least == most:
        return median
    return f"{median}\n{least:,.{digits}f}-{most:,.{digits}f}"


def plots(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], beside: Path) -> list[Path]:
    """Write a plot of each main figure beside a file, and give where they are."""
    written = []
    for name, title in _PLOTS.items():
        bars = [
            Bar(
                label=titles[row["name"]],
                value=row[name],
                least=row["spread"][name][0],
                most=row["spread"][name][1],
                ours=row["name"].startswith("warren"),
            )
            for row in rows
        ]
        path = beside.with_name(f"{beside.stem}-{name.replace('_', '-')}.svg")
        path.write_text(svg(bars, title), encoding="utf-8")
        written.append(path)
    return written
