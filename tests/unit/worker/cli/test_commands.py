import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from producer_sdk import Reply
from producer_sdk.wire import CompletionReply, Status
from tests import commands
from tests.contract.world import ANSWER, INVALID, complete, dead_letter, make_job
from tests.faults.vhost import ROOT
from worker.cli.commands import warren
from worker.cli.submit import print_reply as show_answer
from worker.clock import SystemClock
from worker.core.events import Event
from worker.core.model import DeadLetter, Work
from worker.store.embedded import EmbeddedStore
from worker.store.files import ledger_file

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'


class Deaf:
    def tell(self, event: Event) -> None:
        del event


def every_command() -> Iterator[tuple[str, ...]]:
    for name, command in commands.every().items():
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, each) for each in command.commands)


def test_a_worker_loads_nothing_that_only_other_commands_need() -> None:
    loaded = subprocess.run(  # our own interpreter
        [
            sys.executable,
            "-c",
            (
                "import sys, click\n"
                "from worker.cli.commands import warren\n"
                "assert warren.get_command(click.Context(warren), 'worker').name == 'worker'\n"
                "print(*sys.modules)"
            ),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "worker.app" in loaded
    others = {"aio_pika", "structlog", "worker.cli.submit", "producer_sdk.client"}
    assert others.isdisjoint(loaded)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "warren.toml"
    file.write_text(
        '[broker]\nurl = "amqp://worker@127.0.0.1/warren"\npassword = "canary-password"\n'
        f'[store]\npath = "{tmp_path / "store"}"\n'
        '[tiers.small]\nendpoints = ["main"]\n'
        '[endpoints.main]\nbase_url = "https://api.example/v1"\nkey = "canary-key"\n',
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize(
    "arguments",
    [("dead", "list"), ("explain", "ffffff"), ("lane", "status"), ("lane", "pause", "bulk")],
)
def test_a_redis_that_is_away_is_told_in_one_line_without_its_password(
    config: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    text = config.read_text(encoding="utf-8")
    away = 'url = "redis://:canary-secret@127.0.0.1:1/0"\n[http]\nlisten = "127.0.0.1:0"\n'
    config.write_text(text.replace(f'path = "{tmp_path / "store"}"\n', away), encoding="utf-8")
    result = run(*arguments, config=config)
    assert result.exit_code == 3, result.output
    (line,) = (each for each in result.stderr.splitlines() if each.startswith("warren:"))
    assert "the Redis 127.0.0.1:1/0 cannot be reached" in line
    assert "canary" not in result.output + result.stderr


@pytest.fixture
def letter(tmp_path: Path) -> str:
    """A store with one dead letter; gives the job's id."""

    async def fill() -> str:
        path = ledger_file(tmp_path / "store")
        async with EmbeddedStore(path, clock=SystemClock(), listener=Deaf()) as store:
            job = make_job(body=BODY)
            await dead_letter(store.ledger, job)
            return job.id

    return asyncio.run(fill())


def run(*arguments: str, config: Path | None = None) -> Result:
    given = ["--config", str(config)] if config is not None else []
    return CliRunner().invoke(warren, [*arguments, *given], env={"WARREN_CONFIG": ""})


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_command_has_help_that_teaches(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    group = len(command) == 1 and isinstance(commands.every()[command[0]], click.Group)
    assert group or "Examples:" in result.output
    assert group or "Exit status:" in result.output


def test_check_config_shows_every_setting_and_no_secret(config: Path) -> None:
    result = run("check-config", "--json", config=config)
    assert result.exit_code == 0, result.output
    rows = {row["path"]: row["value"] for row in json.loads(result.stdout)}
    assert rows["tiers.small.concurrency"] == "16"
    assert "canary" not in result.output


def test_check_config_tells_every_problem_at_once(config: Path) -> None:
    broken = config.read_text(encoding="utf-8") + 'wieght = 2\nhttp = "3"\n'
    config.write_text(broken, encoding="utf-8")
    result = run("check-config", config=config)
    assert result.exit_code == 1
    assert "wieght" in result.stderr
    assert "endpoints.main.http" in result.stderr
    assert "canary" not in result.output + result.stderr


def test_dead_list_shows_kind_and_attempts_and_no_content(config: Path, letter: str) -> None:
    result = run("dead", "list", "--json", config=config)
    (row,) = json.loads(result.stdout)
    assert (row["job_id"], row["kind"], row["attempts"]) == (letter, "invalid_request", 1)
    assert "hello there" not in result.output
    assert INVALID.code is not None
    assert row["code"] == INVALID.code


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (("--tier", "small"), 1),
        (("--tier", "large"), 0),
        (("--kind", "invalid_request"), 1),
        (("--kind", "overloaded"), 0),
    ],
)
@pytest.mark.usefixtures("letter")
def test_dead_list_selects_by_tier_and_kind(
    config: Path, selection: tuple[str, str], found: int
) -> None:
    result = run("dead", "list", "--json", *selection, config=config)
    assert len(json.loads(result.stdout)) == found


def test_dead_show_prints_the_request_as_it_would_go_upstream(config: Path, letter: str) -> None:
    result = run("dead", "show", letter[:8], config=config)
    assert result.exit_code == 0
    assert BODY.decode() in result.output
    assert "invalid_request" in result.output


def test_explain_tells_the_time_line_and_no_content(config: Path, letter: str) -> None:
    result = run("explain", letter[:6], config=config)
    assert result.exit_code == 0
    assert "dead_lettered" in result.output
    assert "hello there" not in result.output


@pytest.mark.parametrize(
    ("cost", "told"), [(Decimal("0.00000045"), "cost $0.00000045"), (None, "cost unknown")]
)
def test_explain_tells_what_a_completed_job_cost(
    config: Path, tmp_path: Path, cost: Decimal | None, told: str
) -> None:
    async def fill() -> str:
        path = ledger_file(tmp_path / "store")
        async with EmbeddedStore(path, clock=SystemClock(), listener=Deaf()) as store:
            await complete(store.ledger, make_job(), replace(ANSWER, cost=cost))
            return make_job().id

    job_id = asyncio.run(fill())
    assert told in run("explain", job_id, config=config).output.splitlines()
    as_json = json.loads(run("explain", job_id, "--json", config=config).stdout)
    assert as_json["cost"] == (None if cost is None else "0.00000045")


def test_explain_tells_what_all_calls_of_a_run_cost(config: Path, tmp_path: Path) -> None:
    async def fill() -> str:
        path = ledger_file(tmp_path / "store")
        async with EmbeddedStore(path, clock=SystemClock(), listener=Deaf()) as store:
            job = make_job()
            await store.ledger.begin(job, max_attempts=5)
            work = Work(calls=3, spent=Decimal("0.00000045"), unpriced=2)
            await store.ledger.end(
                job, INVALID, DeadLetter(reason=INVALID.kind), work=work, claimed=True
            )
            return job.id

    told = run("explain", asyncio.run(fill()), config=config).output.splitlines()
    assert "all calls of the run $0.00000045, and 2 of no known cost" in told


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("explain", "ffffffff"), 1),
        (("explain", "abc"), 2),
        (("dead", "show", "ffffffff"), 1),
        (("dead", "replay"), 2),
        (("dead", "replay", "--all", "--tier", "small"), 2),
        (("dead", "replay", "--tier", "large", "--yes"), 1),
        (("status",), 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
@pytest.mark.usefixtures("letter")
def test_a_wrong_call_says_why_and_exits_with_its_status(
    config: Path, arguments: tuple[str, ...], status: int
) -> None:
    result = run(*arguments, config=config)
    assert result.exit_code == status, result.output
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("cost", "line", "in_json"),
    [
        (Decimal("0.00044775"), "cost $0.00044775,", "0.00044775"),
        (Decimal("0E-9"), "cost $0.000000000,", "0.000000000"),
        (None, "cost unknown,", None),
    ],
)
def test_submit_prints_what_the_job_cost(
    capsys: pytest.CaptureFixture[str], cost: Decimal | None, line: str, in_json: str | None
) -> None:
    wire = CompletionReply(
        submission_id="s", job_id="a" * 32, status=Status.COMPLETED, body=b"{}", cost=cost
    )
    show_answer(Reply.of(wire), json_too=False)
    assert line in capsys.readouterr().err
    show_answer(Reply.of(wire), json_too=True)
    assert json.loads(capsys.readouterr().out)["cost"] == in_json


def test_a_dry_run_needs_no_broker_and_changes_nothing(config: Path, letter: str) -> None:
    result = run("dead", "replay", "--all", "--dry-run", "--json", config=config)
    assert [row["job_id"] for row in json.loads(result.stdout)] == [letter]
    again = run("dead", "list", "--json", config=config)
    assert len(json.loads(again.stdout)) == 1


def test_a_store_that_is_not_there_is_said(config: Path) -> None:
    result = run("dead", "list", config=config)
    assert result.exit_code == 3
    assert "warren.db" in result.stderr


def lanes(config: Path) -> dict[str, dict[str, object]]:
    result = run("lane", "status", "--json", config=config)
    assert result.exit_code == 0, result.stderr
    return {row["lane"]: row for row in json.loads(result.stdout)}


def test_lane_status_shows_what_is_configured_before_any_worker_has_run(config: Path) -> None:
    rows = lanes(config)
    assert rows["interactive"]["concurrency"] == 16
    assert (rows["bulk"]["state"], rows["bulk"]["windows"]) == ("open", "always")
    assert rows["bulk"]["per_minute"] is None


def test_what_is_set_of_a_lane_stands_until_it_is_given_back(config: Path) -> None:
    window = "22:00-06:00 Europe/Berlin, Mon-Fri"
    set_ = ("lane", "set", "bulk", "--requests-per-minute", "300", "--window", window)
    assert run(*set_, config=config).exit_code == 0
    assert run("lane", "pause", "bulk", "--reason", "noon", config=config).exit_code == 0
    row = lanes(config)["bulk"]
    assert (row["per_minute"], row["last_minute"], row["windows"]) == (300, 0, window)
    assert (row["state"], row["reason"]) == ("paused", "noon")
    assert row["set_by_operator"] == "per_minute, windows"
    back = ("lane", "set", "bulk", "--requests-per-minute", "default", "--window", "default")
    assert run(*back, config=config).exit_code == 0
    assert run("lane", "resume", "bulk", config=config).exit_code == 0
    row = lanes(config)["bulk"]
    assert (row["per_minute"], row["windows"], row["state"]) == (None, "always", "open")
    assert row["set_by_operator"] is None
    assert lanes(config)["interactive"]["set_by_operator"] is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("lane", "set", "bulk"), "say what to set"),
        (("lane", "set", "bulk", "--concurrency", "0"), "from 1 to 10000"),
        (("lane", "set", "bulk", "--requests-per-minute", "-1"), "from 0 to 1000000"),
        (("lane", "set", "bulk", "--window", "night"), "hours, a time zone and days"),
        (("lane", "pause", "overnight"), "not one of"),
        (("lane", "pause", "bulk", "--tier", "huge"), "no tier 'huge'; there are small"),
        (("cancel", "--url", "amqp://u:p@127.0.0.1:1/v"), "name a JOB or a --key"),
    ],
)
def test_a_wrong_use_is_told_with_what_is_right_and_changes_nothing(
    config: Path, arguments: tuple[str, ...], reason: str
) -> None:
    given = config if arguments[0] == "lane" else None
    result = run(*arguments, config=given)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert lanes(config)["bulk"]["set_by_operator"] is None


@pytest.mark.parametrize(
    "group",
    [(), *((name,) for name, each in commands.every().items() if isinstance(each, click.Group))],
)
def test_no_list_of_commands_breaks_off_in_a_sentence(group: tuple[str, ...]) -> None:
    listed = CliRunner().invoke(warren, [*group, "--help"], terminal_width=80).output
    assert "..." not in listed.partition("Commands:")[2]
