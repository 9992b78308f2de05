"""The page of results: what is most worth knowing, the targets, and every measurement that is kept in a folder, with its pictures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import documents, plots, shown, targets
from benchmarks.documents import Document, Row
from benchmarks.grid import markdown
from benchmarks.measurements import MEASUREMENTS
from benchmarks.targets import Verdict

_HEAD: Final = """\
# Results

Written by `./dev bench`, as they came; what is compared and how: [benchmarks/README.md](LEVEL/README.md), what the columns mean:
[below](#how-to-read-the-tables). Figures of one measurement come from one run on one machine with everything on it: broker, upstream, publisher,
collector and contestant. Compare those only.
"""
_PEERS: Final = "peers"
# The picture that stands before a measurement's tables.
_FIRST: Final = "jobs-per-s"


def page(found: Mapping[str, Document], level: str) -> str:
    """Give the page in Markdown; `level` leads from its folder to that of the benchmarks."""
    parts = [_HEAD.replace("LEVEL", level)]
    if found:
        parts += ["## At a glance\n", *_glance(found)]
        parts += ["## Targets\n", markdown(targets.grid(found), titled=False)]
        if (caution := targets.caution(found)) is not None:
            parts += [f"{caution}\n"]
    for name, document in found.items():
        parts += [f"## {name}\n", _section(name, document)]
    rows = (f"* **{head}**: {meaning}" for head, meaning in shown.READING.items())
    return "\n".join([*parts, "## How to read the tables\n", *rows, f"\n{shown.ONCE}\n"])


def _glance(found: Mapping[str, Document]) -> Iterator[str]:
    """Give the headline: how Warren does beside the others, in words and in a picture, and how many targets are reached."""
    if _PEERS in found:
        yield from _beside(found[_PEERS]["contestants"])
        yield f"{_picture(_PEERS, _FIRST, found[_PEERS])}\n"
    stands = Counter(verdict for _, _, verdict in targets.judged(found))
    met = stands[Verdict.MET] + stands[Verdict.STRETCH]
    yield (
        f"Of {stands.total()} targets {met} are met, {stands[Verdict.MISSED]} are missed, "
        f"and {stands[Verdict.UNKNOWN]} were not measured.\n"
    )


def _beside(rows: Sequence[Row]) -> Iterator[str]:
    """Give a sentence on Warren, the fastest of its neighbours, and the floor; where Warren did not take part, none."""
    ours = [row for row in rows if row["contestant"] == "warren"]
    floor = [row for row in rows if row["contestant"] == "bare"]
    rivals = [row for row in rows if not row["what"].startswith("floor") and row not in ours]
    fastest = sorted(rivals, key=lambda row: -row["jobs_per_s"])[:1]
    said = [
        *(f"**Warren with everything on does {_rate(row)}**" for row in ours),
        *(f"the fastest of its neighbours, {row['title']}, {_rate(row)}" for row in fastest),
        *(f"a worker with no feature at all {_rate(row)}" for row in floor),
    ]
    if ours:
        yield f"One process each, {ours[0]['in_flight']:,} calls in flight: {', '.join(said)}.\n"
        if (part := ours[0]["bottleneck"]) in shown.ITS_OWN:
            yield f"The {part} was what bounded these figures: they say little of the workers.\n"


def _rate(row: Row) -> str:
    return f"{row['jobs_per_s']:,.0f} jobs/s at {row['cpu_us_per_job']:,.0f} us of CPU a job"


def _section(name: str, document: Document) -> str:
    machine = document["machine"]
    left_out = [f"Left out, as it failed: {title}." for title in document["left_out"]]
    what = MEASUREMENTS[name].what
    told = f"{what[0].upper()}{what[1:]}. `{document['command']}`, {machine['cores']} cores, Python {machine['python']}.\n"
    ends = list(plots.plots(document))
    first = [
        end for end in ends if end == _FIRST and name != _PEERS
    ]  # that of the peers is at the top
    parts = [
        told,
        *(f"{_picture(name, end, document)}\n" for end in first),
        *(markdown(grid) for grid in shown.grids(document)),
        *(f"{line}\n" for line in (*shown.limits(document), *left_out)),
        *(f"{_picture(name, end, document)}\n" for end in ends if end != _FIRST),
    ]
    return "\n".join(parts)


def _picture(name: str, end: str, document: Document) -> str:
    stem = documents.path_of(Path(), name).stem
    return f"![{document['measurement']}: {end}]({stem}-{end}.svg)"


def write(folder: Path, level: str) -> Path:
    """Write the page of a folder from the documents that are kept there, and give where it is."""
    path = folder / "README.md"
    path.write_text(page(documents.kept(folder), level), encoding="utf-8")
    return path
