import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stack import bootstrap, checks, commands, indexes, locks
from stack.errors import StackError

_ROOT = Path(__file__).parents[3]


def _project(folder: Path) -> Path:
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements/dev.lock").write_text("a==1\n", encoding="utf-8")
    return folder


def test_the_stamp_changes_with_a_lock_the_python_and_the_place(tmp_path: Path) -> None:
    project = _project(tmp_path / "one")
    first = bootstrap.stamp(project, (3, 11, 7))
    assert bootstrap.stamp(project, (3, 11, 7)) == first

    others = {
        bootstrap.stamp(project, (3, 12, 0)),
        bootstrap.stamp(_project(tmp_path / "two"), (3, 11, 7)),
    }
    (project / "requirements/dev.lock").write_text("a==2\n", encoding="utf-8")
    others.add(bootstrap.stamp(project, (3, 11, 7)))

    assert len(others | {first}) == 4


def test_an_environment_with_the_right_stamp_is_used_as_it_is(tmp_path: Path) -> None:
    project = _project(tmp_path)
    python = project / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    right = bootstrap.stamp(project, sys.version_info[:3])
    (project / ".venv/warren-stamp").write_text(right, encoding="utf-8")

    assert bootstrap.ensure(project) == python
    assert [path.name for path in python.parent.iterdir()] == ["python"]


def test_an_environment_beside_the_projects_own_is_used_as_it_is(tmp_path: Path) -> None:
    project = _project(tmp_path)
    python = project / ".warren/peers/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    right = bootstrap.stamp(project, sys.version_info[:3])
    (project / ".warren/peers/warren-stamp").write_text(right, encoding="utf-8")

    assert bootstrap.ensure(project, place=".warren/peers", lock_name="peers") == python
    assert not bootstrap.is_current(project)


def test_the_launcher_runs_from_a_path_with_spaces(tmp_path: Path) -> None:
    place = tmp_path / "a place"
    (place / "worker/cli").mkdir(parents=True)
    (place / "worker/__init__.py").touch()
    (place / "worker/cli/__init__.py").touch()
    (place / "worker/cli/main.py").write_text(
        "import sys\ndef main():\n    print(sys.argv[1:])\n    return 3\n", encoding="utf-8"
    )
    (place / ".venv/bin").mkdir(parents=True)
    (place / ".venv/lib/python3.11/site-packages").mkdir(parents=True)
    (place / ".venv/bin/python").write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(place))} exec {sys.executable} "$@"\n', "utf-8"
    )
    (place / ".venv/bin/python").chmod(0o755)

    bootstrap._link_project(place, place / ".venv")
    done = subprocess.run(
        [str(place / ".venv/bin/warren"), "x y", "z"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (3, "['x y', 'z']\n", "")


@pytest.mark.parametrize("name", ["base", "worker", "dev", "peers"])
def test_a_lock_pins_every_package_by_hash_and_names_no_host(name: str) -> None:
    lock = _ROOT / f"requirements/{name}.lock"
    lines = lock.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line and line[0] not in " #"]

    locks.check_addresses(lock)
    assert len(starts) == locks.count(lock) > 0
    assert all("--hash=sha256:" in lines[number + 1] for number in starts)


def test_a_lock_with_an_address_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "dev.lock"
    lock.write_text("a @ https://example.org/a.whl\n", encoding="utf-8")

    with pytest.raises(StackError, match=r"dev\.lock"):
        locks.check_addresses(lock)


def test_pips_indexes_are_translated_for_uv() -> None:
    settings = [
        "global.index-url='https://example.org/simple'",
        "global.extra-index-url='file:///a file:///b'",
        "user.find-links='/c /d'",
        "global.timeout='180'",
    ]

    assert indexes.translate(settings) == {
        "UV_DEFAULT_INDEX": "https://example.org/simple",
        "UV_INDEX": "file:///a file:///b",
        "UV_FIND_LINKS": "/c,/d",
    }
    assert indexes.translate(settings, primary_only=True) == {
        "UV_DEFAULT_INDEX": "https://example.org/simple"
    }


def test_every_command_is_in_the_help_and_its_function_is_there() -> None:
    for command in commands.COMMANDS:
        module, _, name = command.target.partition(":")
        path = _ROOT / f"{module.replace('.', '/')}.py"
        assert f"  {command.name}" in commands.usage()
        assert f"def {name}(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["test", "secrets", "lock"])
@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_tells_what_a_command_does_and_does_nothing(
    name: str, asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands.find(name)
    assert command is not None
    module, _, function = command.target.partition(":")
    monkeypatch.setattr(f"{module}.{function}", lambda _arguments: pytest.fail("it was run"))

    assert commands.run(command, [asked]) == 0
    assert capsys.readouterr().out.startswith(f"usage: ./dev {name}")


def test_an_unknown_command_is_named_and_ends_with_status_2() -> None:
    done = subprocess.run([str(_ROOT / "dev"), "tset"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "'tset'" in done.stderr
    assert done.stdout == ""


def test_without_a_recent_python_one_line_says_so(tmp_path: Path) -> None:
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(f"/bin/{name}")

    done = subprocess.run(
        ["/bin/sh", str(_ROOT / "dev"), "test"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "3.11" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_command_that_fails_for_a_known_reason_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_arguments: list[str]) -> int:
        raise StackError("no such luck")

    monkeypatch.setattr(checks, "main", fail)
    command = commands.Command(name="test", summary="", target="stack.checks:main")

    assert commands.run(command, []) == 1
    assert capsys.readouterr().err == "./dev test: no such luck\n"


def test_checks_end_with_pytest_and_give_it_the_arguments() -> None:
    names = [name for name, _ in checks.steps([])]

    assert names == ["lint", "format", "types", "imports", "tests"]
    assert checks.steps(["-k", "one"])[-1][1][-3:] == ["pytest", "-k", "one"]


def test_all_tests_run_side_by_side_and_some_as_is_asked_for() -> None:
    assert "-n" in checks.steps([])[-1][1]
    assert "-n" not in checks.steps(["-x"])[-1][1]


def test_checks_stop_at_the_first_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write(number: int, status: int) -> tuple[str, list[str]]:
        code = f"open({str(tmp_path / str(number))!r}, 'w').close(); raise SystemExit({status})"
        return str(number), [sys.executable, "-c", code]

    monkeypatch.setattr(checks, "_fetch_servers", lambda: None)
    monkeypatch.setattr(checks, "steps", lambda _: [write(1, 0), write(2, 5), write(3, 0)])

    assert checks.main([]) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
