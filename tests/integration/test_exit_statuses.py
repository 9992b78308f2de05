"""Each command ends with the status that its --help tells: 0, 1 failed or configuration, 2 usage, 3 not reachable.

Nothing listens at port 1 of this machine, so no broker is needed.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests import commands
from tests.contract.world import dead_letter, make_job
from tests.faults.vhost import ROOT
from worker.cli.commands import warren
from worker.clock import SystemClock
from worker.core.events import Event
from worker.store.embedded import EmbeddedStore
from worker.store.files import ledger_file

NOBODY = "amqp://producer:x@127.0.0.1:1/warren"
NO_API = ("--management-url", "http://admin:x@127.0.0.1:1")
CONFIG = """
[broker]
url = "amqp://worker:x@127.0.0.1:1/warren"
[store]
path = "{store}"
[tiers.small]
endpoints = ["main"]
[endpoints.main]
base_url = "https://api.example/v1"
"""


class Deaf:
    def tell(self, event: Event) -> None:
        del event


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Configurations: a right one with a ledger, one whose ledger is not made yet, one whose ledger cannot be made, one
    with problems; and a dead letter.
    """

    right: Path
    empty: Path
    unusable: Path
    broken: Path
    letter: str
    lines: Path
    output: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("place")

    async def fill() -> str:
        path = ledger_file(folder / "store")
        async with EmbeddedStore(path, clock=SystemClock(), listener=Deaf()) as store:
            job = make_job(body=b'{"model": "m"}')
            await dead_letter(store.ledger, job)
            return job.id

    files = {"right": "store", "empty": "nothing", "unusable": "/proc/warren", "broken": "store"}
    for name, store in files.items():
        (folder / name).write_text(CONFIG.format(store=folder / store), encoding="utf-8")
    with (folder / "broken").open("a", encoding="utf-8") as file:
        file.write("wieght = 2\n")
    lines = folder / "lines.jsonl"
    lines.write_text(
        '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}\n',
        encoding="utf-8",
    )
    return Place(
        lines=lines,
        output=folder / "out.jsonl",
        right=folder / "right",
        empty=folder / "empty",
        unusable=folder / "unusable",
        broken=folder / "broken",
        letter=asyncio.run(fill()),
    )


def run(place: Place, *arguments: str) -> Result:
    """Run a command; words in braces are the fields of the place."""
    filled = [
        re.sub(r"\{(\w+)\}", lambda found: str(getattr(place, found[1])), each)
        for each in arguments
    ]
    environment = {"WARREN_CONFIG": "", "WARREN_URL": None, "WARREN_OPERATOR_URL": None}
    return CliRunner().invoke(warren, filled, env=environment, input=b"\xff")


def leaves() -> Iterator[tuple[str, ...]]:
    for name, command in commands.every().items():
        if isinstance(command, click.Group):
            yield from ((name, each) for each in command.commands)
        else:
            yield (name,)


U = ("--config", "{unusable}")
R, E, B = ("--config", "{right}"), ("--config", "{empty}"), ("--config", "{broken}")
BATCH = ("batch", "run", "{lines}", "-o", "{output}")
SUBMIT = ("submit", "hello", "--url", NOBODY)
CASES: list[tuple[tuple[str, ...], int]] = [
    (("check-config", *R), 0),
    (("check-config", *B), 1),
    (("check-config", "--config", "/no/such/file"), 1),
    (("check-config", "extra", *R), 2),
    (("worker", *B), 1),
    (("worker", "--nonsense"), 2),
    (("status", *R), 1),
    (("status", *B, *NO_API), 1),
    (("status", "--management-url", "nonsense", *R), 2),
    (("status", "--management-url", "http://u:p@h:99999", *R), 2),
    (("status", "--management-url", "amqp://u:p@h", *R), 2),
    (("status", *R, *NO_API), 3),
    (("explain", "{letter}", *R), 0),
    (("explain", "f" * 32, *R), 1),
    (("explain", "{letter}", *B), 1),
    (("explain", "abc", *R), 2),
    (("explain", *R), 2),
    (("explain", "{letter}", *E), 3),
    (("spend", *R), 0),
    (("spend", "--by", "tenant", "--since", "60", *R), 0),
    (("spend", *B), 1),
    (("spend", "--since", "60", *R), 2),
    (("spend", "--by", "colour", *R), 2),
    (("spend", *U), 3),
    (("spend", "--by", "tier", *E), 3),
    (("dead", "list", *R), 0),
    (("dead", "list", *B), 1),
    (("dead", "list", "--kind", "nonsense", *R), 2),
    (("dead", "list", *E), 3),
    (("dead", "show", "{letter}", *R), 0),
    (("dead", "show", "f" * 32, *R), 1),
    (("dead", "show", "{letter}", *B), 1),
    (("dead", "show", "abc", *R), 2),
    (("dead", "show", "{letter}", *E), 3),
    (("dead", "replay", "--all", "--dry-run", *R), 0),
    (("dead", "replay", "--tier", "large", "--url", NOBODY, *R), 1),
    (("dead", "replay", "--all", "--url", NOBODY, *B), 1),
    (("dead", "replay", *R), 2),
    (("dead", "replay", "--all", "{letter}", *R), 2),
    (("dead", "replay", "--all", *R), 2),
    (("dead", "replay", "--all", "--url", "nonsense", *R), 2),
    (("dead", "replay", "--all", "--url", NOBODY, "--deadline", "nan", *R), 2),
    (("dead", "replay", "--all", "--url", NOBODY, "--deadline", "0", *R), 2),
    (("dead", "replay", "--all", "--url", NOBODY, *R), 3),
    (("dead", "replay", "--all", "--url", NOBODY, *E), 3),
    (("topology", "check", *R), 1),
    (("topology", "check", *B, *NO_API), 1),
    (("topology", "check", "--management-url", "nonsense", *R), 2),
    (("topology", "check", *R, *NO_API), 3),
    (("topology", "apply", *B, *NO_API), 1),
    (("topology", "apply", "--management-url", "nonsense", *R), 2),
    (("topology", "apply", *R, *NO_API), 3),
    (("topology", "show", *R), 0),
    (("topology", "show", *B), 1),
    (("topology", "show", "--nonsense", *R), 2),
    *((("topology", "show", "--tenant", each, *R), 2) for each in ("a.b", "a|b", "", "worker")),
    (("topology", "apply", "--tenant", "a.b", *R, *NO_API), 2),
    (("doctor", *B), 1),
    (("doctor", "--nonsense", *R), 2),
    (("doctor", "--management-url", "nonsense", *R), 2),
    (("doctor", *R), 3),
    (("doctor", *R, *NO_API), 3),
    ((*BATCH, "--url", NOBODY), 3),
    ((*BATCH, "--url", "nonsense"), 2),
    ((*BATCH, "--url", NOBODY, "--deadline", "nan"), 2),
    ((*BATCH[:3], "-o", "/proc/none/out.jsonl", "--url", NOBODY), 1),
    (("result",), 2),
    (("result", "f" * 32, "--url", "nonsense"), 2),
    (("result", "f" * 32, "--url", NOBODY, "--timeout", "nan"), 2),
    (("result", "f" * 32, "--url", NOBODY), 3),
    (("cancel", "--url", NOBODY), 2),
    (("cancel", "f" * 32, "--url", NOBODY, "--timeout", "-1"), 2),
    (("cancel", "f" * 32, "--url", NOBODY), 3),
    (("lane", "status", *R), 0),
    (("lane", "status", *B), 1),
    (("lane", "status", "--nonsense", *R), 2),
    (("lane", "pause", "bulk", *R), 0),
    (("lane", "pause", "bulk", *B), 1),
    (("lane", "pause", "fast", *R), 2),
    (("lane", "pause", "bulk", "--tier", "large", *R), 2),
    (("lane", "resume", "bulk", *R), 0),
    (("lane", "resume", "bulk", *B), 1),
    (("lane", "resume", *R), 2),
    (("lane", "set", "bulk", "--concurrency", "2", *R), 0),
    (("lane", "set", "bulk", "--concurrency", "2", *B), 1),
    (("lane", "set", "bulk", *R), 2),
    (("lane", "set", "bulk", "--concurrency", "nan", *R), 2),
    (("lane", "set", "bulk", "--window", "soon", *R), 2),
    (("lane", "pause", "bulk", *U), 3),
    (("lane", "resume", "bulk", *U), 3),
    (("lane", "set", "bulk", "--concurrency", "2", *U), 3),
    (("submit",), 2),
    (("submit", "hello"), 2),
    ((*SUBMIT, "--url", "nonsense"), 2),
    ((*SUBMIT, "--tier", "a.b"), 2),
    ((*SUBMIT, "--key", ""), 2),
    ((*SUBMIT, "--key", "x" * 257), 2),
    (("submit", "-", "--url", NOBODY), 2),
    *(((*SUBMIT, "--timeout", each), 2) for each in ("nan", "inf", "-1", "0", "1e99", "soon")),
    (SUBMIT, 3),
]


@pytest.mark.parametrize(("arguments", "status"), CASES, ids=str)
def test_a_command_ends_with_the_status_that_its_help_tells(
    place: Place, arguments: tuple[str, ...], status: int
) -> None:
    result = run(place, *arguments)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert bool(result.stderr or arguments[0] == "doctor") is bool(status)
    assert "Traceback" not in result.stderr


def test_the_table_covers_every_command() -> None:
    tried = {leaf for leaf in leaves() for given, _ in CASES if given[: len(leaf)] == leaf}
    assert tried == set(leaves())


@pytest.mark.parametrize("leaf", list(leaves()), ids=" ".join)
def test_the_help_tells_every_status_that_the_table_has_for_a_command(
    place: Place, leaf: tuple[str, ...]
) -> None:
    told = run(place, *leaf, "--help").output.partition("Exit status:")[2]
    statuses = {status for given, status in CASES if given[: len(leaf)] == leaf}
    assert statuses <= {int(number) for number in re.findall(r"\b([0-3])(?= )", told)}


STARTS = {
    "an address that is taken": ('[http]\nlisten = "{taken}"\n', "is taken by another process"),
    "an address of another machine": ('[http]\nlisten = "192.0.2.1:9464"\n', "http.listen"),
    "a host that is not known": ('[http]\nlisten = "nobody.invalid:9464"\n', "http.listen"),
    "a store that cannot be made": ("/proc/warren", "the store /proc/warren"),
    "a store below a file": ("{folder}/file/store", "the store"),
    "a broker's URL that is none": ("amqp://127.0.0.1:1/warren", "broker's URL must look like"),
    "certificates that are none": ('ca_file = "{folder}/file"\n', "broker.ca_file"),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_worker_that_cannot_start_says_why_in_one_line(name: str, tmp_path: Path) -> None:
    planted, said = STARTS[name]
    (tmp_path / "file").write_text("no certificate", encoding="utf-8")
    text = CONFIG.format(store=tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        planted = planted.format(taken=address, folder=tmp_path)
        if planted.startswith("["):
            text += planted
        elif planted.startswith("ca_file"):
            text = text.replace("[store]", f"{planted}[store]")
        elif planted.startswith("amqp"):
            text = re.sub(r"amqp://[^\"]*", planted, text)
        else:
            text = text.replace(str(tmp_path / "store"), planted)
        if "[http]" not in text:
            text += '[http]\nlisten = "127.0.0.1:0"\n'
        config = tmp_path / "warren.toml"
        config.write_text(text, encoding="utf-8")
        config.chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli.main", "worker", "--config", str(config)],
            cwd=ROOT,
            env={name: it for name, it in os.environ.items() if not name.startswith("WARREN_")},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("warren: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr
