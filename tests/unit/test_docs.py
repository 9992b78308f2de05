"""What the README and the docs say is what the code does."""

import ast
import re
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest

from producer_sdk import Request
from producer_sdk.sync.testing import FakeCompletionClient as SyncFake
from producer_sdk.testing import FakeCompletionClient
from tests.commands import every
from tests.faults.vhost import ROOT
from worker.core.kinds import RULES, Kind
from worker.core.model import State
from worker.settings import reference
from worker.settings.fields import FIELDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


def settings_table(section: str) -> str:
    rows = [
        f"| `{row.path}` | {f'`{row.default}`' if row.default else ''} | {row.meaning} |"
        for row in reference()
        if row.path.partition(".")[0] == section
    ]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def test_the_page_of_settings_has_every_section_and_no_other() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- (\w+) -->", page) == list(FIELDS)


@pytest.mark.parametrize("section", FIELDS)
def test_each_table_of_settings_is_the_codes(section: str) -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    between = re.search(rf"<!-- {section} -->\n(.*)\n<!-- /{section} -->", page, re.DOTALL)
    assert between is not None
    assert between[1] == settings_table(section)


def test_the_readme_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    index = README.partition("## Where to read on")[2]
    assert set(re.findall(r"\]\((docs/\w+\.md)\)", index)) == pages


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in every() if f"`warren {name}" not in README]
    assert not missing


def test_the_life_cycle_names_every_state_and_no_other() -> None:
    page = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    diagram = page.partition("```mermaid")[2].partition("```")[0]
    drawn = set(re.findall(r"\b([a-z_]+)(?= -->)", diagram)) | set(
        re.findall(r"--> ([a-z_]+)", diagram)
    )
    waiting = {"queued", "running", "parked"}
    assert drawn - waiting == {state.value for state in State} - {"open"}
    assert drawn >= waiting


def test_the_life_cycle_puts_every_kind_of_failure_beside_its_cure() -> None:
    page = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (retry|wait|operator|none|end) \| ([^|]*) \|", page, re.MULTILINE)
    told = {kind: cure for cure, kinds in rows for kind in re.findall(r"`(\w+)`", kinds)}
    assert told == {kind.value: RULES[kind].cure.name.lower() for kind in Kind}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """Give the names that GitHub gives the page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
        assert anchor in anchors(page.parent / target if target else page), (target, anchor)


def test_the_architecture_names_every_folder() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+/`) \|", page.partition("## Folders")[2], re.MULTILINE)
    named = {folder for row in rows for folder in re.findall(r"`([^`]+)/`", row)}
    modules = [*ROOT.glob("*/*.py"), *(ROOT / "worker").glob("*/__init__.py")]
    folders = {str(module.parent.relative_to(ROOT)) for module in modules}
    assert folders - {"worker"} <= named


@pytest.mark.parametrize(
    "package",
    [
        path.parent
        for path in (ROOT / "worker").rglob("__init__.py")
        if path.parent.name != "scripts"
    ],
    ids=lambda package: str(package.relative_to(ROOT)),
)
def test_the_map_of_each_folder_names_its_modules_and_no_other(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    rows = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert named <= modules | folders
    assert {name for name in modules | folders if f"`{name}`" not in text} == set()


# The README's first fragment is a whole program, which an acceptance test runs against a real stack; those of
# docs/batches.md and docs/producers.md are run beside the tests of what they are about.
FRAGMENTS = [
    *re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1:],
    *re.findall(r"```python\n(.*?)```", (ROOT / "docs/lanes.md").read_text("utf-8"), re.DOTALL),
]


def names(client: object) -> dict[str, object]:
    return {
        "CompletionClient": lambda _, **__: client,
        "client": client,
        "messages": [],
        "n": 17,
        "print": lambda *_: None,
        "requests": [
            Request(tier="budget", body=b"{}", idempotency_key=f"k{number}") for number in range(3)
        ],
        "timedelta": timedelta,
        "url": "amqp://app:secret@127.0.0.1/warren",
    }


def test_the_pages_have_as_many_python_fragments_as_are_run_here() -> None:
    assert len(FRAGMENTS) == 4
    assert sum("producer_sdk.sync" in fragment for fragment in FRAGMENTS) == 1


@pytest.mark.parametrize("fragment", [it for it in FRAGMENTS if "producer_sdk.sync" not in it])
async def test_every_python_fragment_with_an_event_loop_runs(fragment: str) -> None:
    async with FakeCompletionClient("Hello.") as client:
        given = names(client)
        body = textwrap.indent(fragment, "    ")
        exec(compile(f"async def run():\n{body}", "page", "exec"), given)  # noqa: S102  # our own page
        await given["run"]()  # type: ignore[operator]  # it was defined just now
        assert client.requests


@pytest.mark.parametrize("fragment", [it for it in FRAGMENTS if "producer_sdk.sync" in it])
def test_every_python_fragment_without_one_runs(fragment: str) -> None:
    with SyncFake("Hello.") as client:
        exec(compile(fragment, "page", "exec"), names(client))  # noqa: S102  # our own page
        assert client.requests
