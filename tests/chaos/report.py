"""What was found, for a person, for a page and for a program. Pure."""

import json
from collections.abc import Iterator, Sequence

from rich.table import Table

from tests.chaos.experiment import Bound, Experiment
from tests.chaos.result import Result, Row, Verdict

_STYLES = {Verdict.KEPT: "green", Verdict.BROKEN: "bold red", Verdict.FAILED: "bold red"}
_MINUTE_S = 60


def listing(experiments: Sequence[Experiment]) -> Table:
    """Tell which experiments there are."""
    made = Table(box=None, pad_edge=False)
    for name in ("name", "minutes", "what is tried", "promise"):
        made.add_column(name, justify="right" if name == "minutes" else "left")
    for each in experiments:
        made.add_row(each.name, f"{each.minutes:g}", each.title, each.promise)
    return made


def table(result: Result) -> Table:
    """Give the table for a terminal."""
    made = Table(pad_edge=False, show_lines=True)
    for name in ("test", "promise", "what was done", "measured", "", "time"):
        made.add_column(name, overflow="fold")
    for row in result.rows:
        made.add_row(*cells(row), style=None if row.kept else _STYLES[row.verdict])
    return made


def verdict(result: Result) -> str:
    """Give the last line, and where to look when a promise was not kept."""
    kept = sum(row.kept for row in result.rows)
    lines = [f"{kept} of {len(result.rows)} kept; {provenance(result)}"]
    lines += [
        f"{row.experiment.name}: {row.verdict}, see {row.folder}"
        for row in result.rows
        if not row.kept
    ]
    return "\n".join(lines)


def markdown(result: Result) -> str:
    """Give the table for a page, with its origin above it."""
    head = "| test | promise | what was done | measured | | time |"
    rows = ("| " + " | ".join(map(_escaped, cells(row))) + " |" for row in result.rows)
    return "\n".join(
        [f"{provenance(result)}.", "", head, "| --- | --- | --- | --- | --- | --- |", *rows]
    )


def provenance(result: Result) -> str:
    """Tell when, on what and from which seed, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return f"{result.at:%Y-%m-%d}, {result.minutes:.3g} minutes, seed {result.seed}; {versions}"


def cells(row: Row) -> Iterator[str]:
    """Give a row's six cells."""
    yield row.experiment.title
    yield row.experiment.promise
    yield row.measured.work if row.measured else "-"
    yield "; ".join(map(bound, row.measured.bounds)) if row.measured else (row.error or "-")
    yield row.verdict.value
    yield duration(row.seconds)


def bound(it: Bound) -> str:
    """Tell a bound and what was measured: "lost 0", or "extra calls 3 of at most 16"."""
    told = f"{it.name} {number(it.measured)}"
    if it.at_most or it.broken:
        told += f" of at most {number(it.at_most)}"
    return f"{told}: BROKEN" if it.broken else told


def number(value: float) -> str:
    """Give a figure with at most one decimal place, and commas."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def duration(seconds: float) -> str:
    """Give seconds, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def as_json(result: Result) -> str:
    """Give all of it."""
    return json.dumps(
        {
            "at": result.at.isoformat(timespec="seconds"),
            "seed": result.seed,
            "minutes": result.minutes,
            "versions": dict(result.versions),
            "kept": result.kept,
            "experiments": [_row(row) for row in result.rows],
        },
        indent=2,
    )


def _row(row: Row) -> dict[str, object]:
    measured = row.measured
    return {
        "name": row.experiment.name,
        "title": row.experiment.title,
        "promise": row.experiment.promise,
        "verdict": row.verdict.value,
        "seconds": round(row.seconds, 1),
        "error": row.error,
        "work": measured.work if measured else None,
        "bounds": [
            {
                "name": each.name,
                "measured": each.measured,
                "at_most": each.at_most,
                "broken": each.broken,
            }
            for each in (measured.bounds if measured else ())
        ],
        "figures": dict(measured.figures) if measured else {},
    }


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
