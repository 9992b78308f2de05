"""The pictures of a measurement: bars of everybody, lines over sizes, and the distribution of latencies."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import bars, lines
from benchmarks.bars import Bar
from benchmarks.documents import Document, Row
from benchmarks.lines import Axes, Line
from benchmarks.loads import URGENT, key_of
from benchmarks.shown import varied

_PLOTS: Final = {
    "jobs_per_s": "Jobs a second (more is better)",
    "cpu_us_per_job": "CPU for each job, in microseconds (less is better)",
    "rss_mb": "Memory, RSS in MB (less is better)",
}
_SLOT: Final = key_of("slot", "p99", URGENT)
# Values that differ by more are drawn by powers of ten.
_WIDELY: Final = 30
_BELOW: Final = {
    "in_flight": "calls in flight",
    "backlog": "jobs that wait behind",
    "processes": "processes",
}


def plots(found: Document) -> dict[str, str]:
    """Give the pictures as SVG, by the end of a file's name."""
    size = varied(found["contestants"])
    made = {
        name.replace("_", "-"): _bars(found, name, title)
        if size in (None, "processes")
        else _over(found, name, title, str(size))
        for name, title in _PLOTS.items()
    }
    if all(_SLOT in row for row in found["contestants"]):
        made["slot"] = _bars(
            found, _SLOT, "From a free slot to the urgent call, p99 in ms (less is better)"
        )
    if any(row["curves"] for row in found["contestants"]):
        made["latency"] = distribution(found)
    return made


def written(found: Document, beside: Path) -> list[Path]:
    """Write the pictures beside a file, and give where they are."""
    paths = []
    for end, drawn in plots(found).items():
        path = beside.with_name(f"{beside.stem}-{end}.svg")
        path.write_text(drawn, encoding="utf-8")
        paths.append(path)
    return paths


def distribution(found: Document) -> str:
    """Draw what was added to each share of the jobs; the rarer the slow ones, the further to the right."""
    shares = found["shares"]
    loads = list(
        dict.fromkeys(load for row in found["contestants"] for load in _told(row["curves"]))
    )
    at = f" at {loads[0].replace('%', '% of what each can do')}" if len(loads) == 1 else ""
    return lines.svg(
        [
            Line(
                label=row["what"] if at else f"{row['what']}, {load}",
                kin=row["contestant"],
                dash=load,
                points=[
                    (_rare(share), max(ms, 0.01)) for share, ms in zip(shares, values, strict=True)
                ],
            )
            for row in _ours_first(found["contestants"])
            for load, values in _told(row["curves"]).items()
        ],
        Axes(
            title=f"What is added to the upstream's time{at}, publish to call and call to reply, in ms (less is better)",
            below="share of the jobs that took no longer",
            ticks=[(_rare(share), f"{share:.1%}".replace(".0%", "%")) for share in shares],
            log_x=False,
            log_y=True,
        ),
    )


def _told(curves: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    """Give those at a share of what each can do, where there are some, and else all."""
    return {load: values for load, values in curves.items() if load.endswith("%")} or curves


def _rare(share: float) -> float:
    """Give a place for a share: each further nine as far as the one before."""
    return -math.log10(1 - share)


def _over(found: Document, name: str, title: str, size: str) -> str:
    rows = _ours_first(found["contestants"])
    sizes = sorted({row[size] for row in rows})
    values = [row[name] for row in rows]
    return lines.svg(
        [
            Line(label=what, points=[(row[size], row[name]) for row in rows if row["what"] == what])
            for what in dict.fromkeys(row["what"] for row in rows)
        ],
        Axes(
            title=f"{title}, by {_BELOW[size]}",
            below=f"{_BELOW[size]} (log scale)",
            ticks=[(value, f"{value:,}") for value in sizes],
            log_y=max(values) > _WIDELY * min(values) > 0,
        ),
    )


def _ours(row: Row) -> bool:
    return str(row["contestant"]).startswith(("warren", "sdk"))


def _ours_first(rows: Sequence[Row]) -> list[Row]:
    """Give the rows with ours before the others, so that they have the colour that ours has everywhere."""
    return sorted(rows, key=lambda row: not _ours(row))


def _bars(found: Document, name: str, title: str) -> str:
    made = [
        Bar(
            label=row["title"],
            value=row[name],
            least=row["spread"][name][0],
            most=row["spread"][name][1],
            ours=_ours(row),
            floor=row["what"].startswith("floor"),
        )
        for row in found["contestants"]
    ]
    return bars.svg(made, title)
