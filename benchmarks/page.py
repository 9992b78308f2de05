"""The page of results: every measurement that is kept in a folder, as it came, with its pictures, and the targets."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import documents, plots, shown, targets
from benchmarks.documents import Document
from benchmarks.grid import markdown
from benchmarks.measurements import MEASUREMENTS

_HEAD = """\
# Results

Written by `./dev bench`, as they came; how to read them: [benchmarks/README.md](LEVEL/README.md). Figures of one measurement come
from one run on one machine with everything on it: broker, upstream, publisher, collector and contestant. Compare those only.
"""


def page(found: Mapping[str, Document], level: str) -> str:
    """Give the page in Markdown; `level` leads from its folder to that of the benchmarks."""
    parts = [_HEAD.replace("LEVEL", level)]
    if found:
        parts += ["## Targets\n", markdown(targets.grid(found))]
    for name, document in found.items():
        parts += [f"## {name}\n", _section(name, document)]
    return "\n".join(parts)


def _section(name: str, document: Document) -> str:
    machine = document["machine"]
    stem = documents.path_of(Path(), name).stem
    pictures = [f"![{end}]({stem}-{end}.svg)" for end in plots.plots(document)]
    left_out = [f"Left out, as it failed: {title}." for title in document["left_out"]]
    what = MEASUREMENTS[name].what
    told = f"{what[0].upper()}{what[1:]}. `{document['command']}`, {machine['cores']} cores, Python {machine['python']}.\n"
    parts = [
        told,
        *(markdown(grid) for grid in shown.grids(document)),
        *(f"{line}\n" for line in (*shown.limits(document), *left_out)),
        *(f"{picture}\n" for picture in pictures),
    ]
    return "\n".join(parts)


def write(folder: Path, level: str) -> Path:
    """Write the page of a folder from the documents that are kept there, and give where it is."""
    path = folder / "README.md"
    path.write_text(page(documents.kept(folder), level), encoding="utf-8")
    return path
