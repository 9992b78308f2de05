import json
from pathlib import Path

import pytest

from tests.unit.worker.cli.batches.test_results import reply
from worker.cli.batches.format import Line
from worker.cli.batches.results import result_line
from worker.cli.batches.writing import LinesFile, OutputRefused, ResultsFile


def result(custom_id: str) -> bytes:
    line = Line(number=1, custom_id=custom_id, path="/v1/embeddings", body=b"{}")
    return result_line(line, reply(b'{"n": 1}'))[0]


def restored(path: Path) -> list[str]:
    file = ResultsFile.continued(path)
    try:
        return [done.custom_id for done in file.results()]
    finally:
        file.close()


def test_a_kill_at_any_byte_of_the_last_line_cuts_off_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    whole, torn = result("a") + result("b"), result("c")
    for length in range(len(torn)):
        path.write_bytes(whole + torn[:length])
        assert restored(path) == ["a", "b"]
        assert path.read_bytes() == whole


def test_what_is_appended_follows_what_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(result("a") + result("b")[:20])
    file = ResultsFile.continued(path)
    assert [done.custom_id for done in file.results()] == ["a"]
    file.append(result("b"))
    assert path.read_bytes() == result("a") + result("b")
    file.sync()
    file.close()


@pytest.mark.parametrize(
    "content", [b"notes of mine", b"notes\n", b"\n", b'{"custom_id": "a"}\n', b'{"idea": 1}']
)
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(result("a") + content)
    with pytest.raises(OutputRefused, match="line 2"):
        restored(path)
    assert path.read_bytes() == result("a") + content


def test_a_second_run_on_the_same_output_is_refused_until_the_first_is_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.jsonl"
    first = ResultsFile.continued(path)
    with pytest.raises(OutputRefused, match="another"):
        ResultsFile.continued(path)
    first.close()
    ResultsFile.continued(path).close()


def test_results_as_another_program_writes_them_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(json.loads(result("a")), separators=(",", ":")) + "\n")
    assert restored(path) == ["a"]


def test_an_error_file_begins_empty(tmp_path: Path) -> None:
    path = tmp_path / "errors.jsonl"
    path.write_text("old\n")
    file = LinesFile.emptied(path)
    file.append(b"new\n")
    file.close()
    assert path.read_bytes() == b"new\n"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    file = LinesFile.emptied(tmp_path / "full")
    with pytest.raises(OSError, match="No space"):
        file.append(b"x\n")
    file.close()
