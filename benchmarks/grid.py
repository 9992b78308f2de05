"""A table as data, shown in a terminal or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A title, heads, and rows of texts; all columns but the first `words` and the last are numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def terminal(grid: Grid) -> Table:
    """Give it for a terminal, no cell broken."""
    made = Table(title=grid.title, title_justify="left")
    for number, head in enumerate(grid.heads):
        made.add_column(head, justify="left" if number < grid.words else "right", no_wrap=True)
    for row in grid.rows:
        made.add_row(*row)
    return made


def markdown(grid: Grid, *, titled: bool = True) -> str:
    """Give it as a table of Markdown, below its title if it is to be `titled`."""
    rule = ["---" if number < grid.words else "---:" for number in range(len(grid.heads))]
    rows = [_row(each) for each in (grid.heads, rule, *grid.rows)]
    head = [f"{grid.title}:", ""] if titled else []
    return "\n".join([*head, *rows]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return (
        "| " + " | ".join(cell.replace("\n", "<br>").replace("|", "\\|") for cell in cells) + " |"
    )
