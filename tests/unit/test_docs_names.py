"""What the pages name is there: settings, metrics, commands and their options, modules."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.commands import every
from tests.faults.vhost import ROOT
from worker.settings import reference
from worker.settings.fields import FIELDS, SECTIONS

# Decisions tell what was so when they were made.
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "benchmarks/README.md"]
ROWS = {row.path for row in reference()}
METRICS = set(
    re.findall(
        r"^\| `(warren_\w+)`", (ROOT / "docs/monitoring.md").read_text("utf-8"), re.MULTILINE
    )
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def is_setting(path: str) -> bool:
    """Tell whether there is such a setting, also a secret's file or place."""
    return path in ROWS or re.sub("_(file|from)$", "", path) in ROWS


def named(text: str) -> Iterator[str]:
    """Give the settings that a page names in its sentences, `tiers.*.deadline` as `tiers.<name>.deadline`."""
    yield from re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+)(?: = [^`]*)?`", text)
    for table, name in re.findall(
        r"`(tiers|endpoints|budgets)\.(?:<name>|\*|main|premium|standard|budget)\.(\w+)", text
    ):
        yield f"{table}.<name>.{name}"


def shown(text: str) -> Iterator[str]:
    """Give the settings that a page's pieces of configuration set."""
    for piece in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        for section, values in tomllib.loads(piece).items():
            if section in SECTIONS:
                yield from (f"{section}.{name}" for name in values)
                continue
            place = '"<model>"' if section == "prices" else "<name>"
            for each in values.values():
                yield from (f"{section}.{place}.{name}" for name in each)


@each_page
def test_every_setting_that_a_page_names_or_shows_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [path for path in (*named(text), *shown(text)) if not is_setting(path)] == []


def test_settings_are_found_in_the_pages_at_all() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert {row.split(".")[0] for text in texts for row in named(text)} > set(SECTIONS) - {
        "secrets"
    }
    assert {row.split(".")[0] for text in texts for row in shown(text)} > {
        "store",
        "prices",
        "tiers",
    }
    assert set(FIELDS) > set(SECTIONS)


@each_page
def test_every_metric_that_a_page_names_is_in_the_table(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"\b(warren_[a-z_]+?)(?:_bucket|_sum|_count)?\b(?![./-])", text)
    assert METRICS
    assert {name for name in found if name not in METRICS} == set()


def commands() -> dict[str, click.Command]:
    """Give every command by its words."""
    found = every()
    for name, command in every().items():
        if isinstance(command, click.Group):
            found |= {f"{name} {each}": below for each, below in command.commands.items()}
    return found


@each_page
def test_every_command_that_a_page_names_is_there_with_its_options(page: Path) -> None:
    known = commands()
    text = page.read_text(encoding="utf-8")
    pieces = re.findall(r"`(?:\S*/)?warren ([^`]+)`", text)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in re.split(r"&&|\n|\||;", block):
            if match := re.match(r"\s*(?:\.venv/bin/)?warren (.+)", line):
                pieces.append(match[1].split("  #")[0])
    for piece in pieces:
        words = re.split(r"[\s,`]+", piece)
        command = known.get(" ".join(words[:2])) or known.get(words[0])
        assert command is not None, piece
        options = {option for each in command.params for option in each.opts} | {"--help"}
        if not isinstance(command, click.Group):
            assert {word for word in words if word.startswith("-")} - {"-"} <= options, piece
