import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worker.cli.batches.writing import ResultsFile
from worker.cli.commands import warren

LINE = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(LINE) + "\nbroken\n", encoding="utf-8")
    return file


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A broker's URL where nothing listens, and nothing will as long as the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"amqp://app:canary@127.0.0.1:{held.getsockname()[1]}/warren"


def run(*arguments: str, url: str = "amqp://app:canary@127.0.0.1:1/warren") -> Result:
    return CliRunner().invoke(warren, ["batch", "run", *arguments], env={"WARREN_URL": url})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-", "-o", "out.jsonl"), "--name"),
        (("{source}", "-o", "{source}"), "different"),
        (("{source}", "-o", "out.jsonl", "--errors", "./out.jsonl"), "different"),
        (("{source}", "-o", "-", "--json"), "--json"),
        (("{source}", "-o", "out.jsonl", "--tier", "no such tier"), "tier"),
        (("{source}", "-o", "out.jsonl", "--in-flight", "0"), "in-flight"),
        (("{source}", "-o", "out.jsonl", "--deadline", "0"), "deadline"),
        (("{source}", "-o", "out.jsonl", "--deadline", "1e12"), "deadline"),
        (("{source}", "-o", "out.jsonl", "--deadline", "1e300"), "deadline"),
        (("{source}", "-o", "out.jsonl", "--deadline", "nan"), "deadline"),
        (("{source}", "-o", "out.jsonl", "--lane", "slow"), "lane"),
        (("{source}",), "output"),
        (("missing.jsonl", "-o", "out.jsonl"), "missing.jsonl"),
    ],
    ids=str,
)
def test_a_wrong_call_says_why_before_any_file_is_touched(
    *,
    source: Path,
    arguments: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = source.read_bytes()
    result = run(*(each.format(source=source) for each in arguments))
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert source.read_bytes() == before
    assert list(tmp_path.iterdir()) == [source]


def test_a_broker_that_is_not_there_is_told_with_how_to_go_on(
    source: Path, nowhere: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    result = run(str(source), "-o", str(output), "--json", url=nowhere)
    assert result.exit_code == 3
    assert "the same command goes on" in result.stderr
    assert "canary" not in result.output + result.stderr
    assert not json.loads(result.stdout)["complete"]


def test_a_url_that_is_none_is_told_before_any_file_is_touched(
    source: Path, tmp_path: Path
) -> None:
    result = run(str(source), "-o", str(tmp_path / "out.jsonl"), url="http://example")
    assert result.exit_code == 2
    assert "amqps://" in result.stderr
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("output", ["notes", "no/such/folder/out.jsonl", "folder"])
def test_an_output_that_cannot_be_used_is_told_and_left_alone(
    source: Path, tmp_path: Path, output: str
) -> None:
    (tmp_path / "notes").write_text("of mine\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    result = run(str(source), "-o", str(tmp_path / output))
    assert result.exit_code == 1
    assert output in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "of mine\n"


def test_an_output_that_another_run_writes_is_refused(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    running = ResultsFile.continued(output)
    result = run(str(source), "-o", str(output))
    running.close()
    assert result.exit_code == 1
    assert "another" in result.stderr
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_the_name_of_a_batch_is_its_contents_and_what_is_asked_of_whom(
    source: Path, nowhere: str, tmp_path: Path
) -> None:
    def name(file: Path, *options: str) -> str:
        result = run(str(file), "-o", str(tmp_path / "out.jsonl"), "--json", *options, url=nowhere)
        return str(json.loads(result.stdout)["batch"])

    copy = tmp_path / "copy" / "in.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    one = name(source)
    assert name(copy) == one
    assert name(source, "--in-flight", "3", "--priority", "low") == one
    copy.write_bytes(source.read_bytes() + b"\n")
    others = [name(copy), name(source, "--model", "m"), name(source, "--tier", "budget")]
    assert len({one, *others}) == 4
    assert name(source, "--name", "mine") == "mine"
    odd = tmp_path / os.fsdecode(b"\xff.jsonl")
    odd.write_bytes(source.read_bytes())
    assert name(odd).endswith(one.removeprefix("in"))
