"""Puts the table into the page that shows it, between two markers."""

from pathlib import Path

from tests.faults.vhost import ROOT

PAGE = ROOT / "docs/guarantees.md"
BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"


def write_table(page: Path, table: str) -> None:
    """Replace what stands between the markers; the rest of the page stays as it is.

    Raises:
        ValueError: the page has not exactly these two markers, in order; it is left alone.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not (begin and end) or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} must have a line {BEGIN} and below it a line {END}, once each")
    page.write_text(f"{before}{begin}\n{table}\n\n{end}{after}", encoding="utf-8")
