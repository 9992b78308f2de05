import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stack import doctor, verdicts
from stack.finding import Finding, Severity
from stack.ways import Way
from tests.faults.vhost import ROOT
from tests.unit.stack.fake_docker import install

OK, WARN, FAIL = Severity
MIB = 1024**2


@pytest.mark.parametrize(
    ("version", "severity"),
    [((3, 10, 9), FAIL), ((3, 11, 0), OK), ((3, 13, 7), OK), ((3, 14, 0), WARN)],
)
def test_python_is_judged_by_its_version(version: Sequence[int], severity: Severity) -> None:
    assert verdicts.python(version).severity is severity


@pytest.mark.parametrize(
    ("tools", "severity"), [((), FAIL), (("uv",), OK), (("venv",), OK), (("uv", "venv"), OK)]
)
def test_uv_or_venv_makes_an_environment(tools: tuple[str, ...], severity: Severity) -> None:
    assert verdicts.installer(uv="uv" in tools, venv="venv" in tools).severity is severity


@pytest.mark.parametrize(
    ("true", "severity", "said"),
    [
        ((), OK, "first command"),
        (("exists",), FAIL, "does not run"),
        (("exists", "answers"), WARN, "stale"),
        (("exists", "answers", "current"), OK, "dev.lock"),
    ],
)
def test_the_environment_is_judged(true: tuple[str, ...], severity: Severity, said: str) -> None:
    found = verdicts.environment(
        exists="exists" in true, answers="answers" in true, current="current" in true
    )
    assert found.severity is severity
    assert said in found.detail


@pytest.mark.parametrize(
    ("way", "severity"),
    [(way, {Way.NONE: FAIL, Way.DOCKER: WARN}.get(way, OK)) for way in Way],
)
def test_no_way_to_a_broker_fails_and_docker_is_said_to_be_untested(
    way: Way, severity: Severity
) -> None:
    assert verdicts.broker(way).severity is severity


@pytest.mark.parametrize(
    ("obstacle", "needs", "severity"),
    [(None, "no", OK), (None, "yes", OK), ("no daemon", "no", OK), ("no daemon", "yes", WARN)],
)
def test_docker_matters_only_where_it_is_needed(
    obstacle: str | None, needs: str, severity: Severity
) -> None:
    assert verdicts.docker(obstacle, needed=needs == "yes").severity is severity


@pytest.mark.parametrize(
    ("free", "severity"), [(5000 * MIB, OK), (600 * MIB, WARN), (100 * MIB, FAIL)]
)
def test_the_room_on_the_disk_is_judged(free: int, severity: Severity) -> None:
    assert verdicts.room(free, writable=True).severity is severity
    assert verdicts.room(free, writable=False).severity is FAIL


@pytest.mark.parametrize(
    ("free", "severities"),
    [((), [FAIL]), (("loopback",), [OK, WARN]), (("loopback", "probes"), [OK])],
)
def test_the_ports_are_judged(free: tuple[str, ...], severities: list[Severity]) -> None:
    found = verdicts.ports(loopback="loopback" in free, probes="probes" in free)
    assert [each.severity for each in found] == severities


@pytest.mark.parametrize(
    ("left", "severities"),
    [
        ({}, [OK]),
        ({"up": ["broker", "worker-1"]}, [OK]),
        ({"up": ["broker"], "down": ["worker-1"]}, [WARN]),
        ({"down": ["broker", "worker-1"]}, [OK]),
        ({"demo": ["broker"]}, [WARN]),
        ({"unpacking": ["apt-x"]}, [WARN]),
        ({"up": ["broker"], "demo": ["broker"]}, [OK, WARN]),
    ],
)
def test_what_earlier_runs_left_is_judged(
    left: dict[str, list[str]], severities: list[Severity]
) -> None:
    nothing: dict[str, list[str]] = {"up": [], "down": [], "demo": [], "unpacking": []}
    found = list(verdicts.leftovers(**nothing | left))
    assert [each.severity for each in found] == severities


# The whole command, on a machine that is made up.


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for PATH on a machine without anything, and an empty project beside it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "project/requirements").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL", "OPENAI_BASE_URL", "RABBITMQ_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("stack.server._INSTALLED", ())
    monkeypatch.setattr("stack.bootstrap.ROOT", tmp_path / "project")
    monkeypatch.setattr("stack.doctor._WARREN", tmp_path / "project/.warren")
    return tmp_path / "bin"


def program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def look(capsys: pytest.CaptureFixture[str], *, status: int = 0) -> dict[str, Finding]:
    assert doctor.main(["--json"]) == status
    rows = json.loads(capsys.readouterr().out)
    assert all(row["mend"] for row in rows if row["severity"] != "ok")
    return {row["what"]: Finding(**row) for row in rows}


def test_a_machine_with_nothing_has_no_way_to_a_broker(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.is_dir()
    found = look(capsys, status=1)
    assert found["way to a broker"].severity == "fail"
    assert "apt-get install rabbitmq-server" in found["way to a broker"].mend
    assert found["docker"].detail == "docker is not installed"
    assert [what for what, each in found.items() if each.severity == "fail"] == ["way to a broker"]


@pytest.mark.parametrize(
    ("programs", "way"), [(("apt-get", "dpkg-deb"), Way.PACKAGES), (("apt-get",), None)]
)
def test_apt_needs_dpkg_to_be_a_way(
    machine: Path,
    capsys: pytest.CaptureFixture[str],
    programs: tuple[str, ...],
    way: Way | None,
) -> None:
    for name in programs:
        program(machine, name)
    found = look(capsys, status=0 if way else 1)
    assert found["way to a broker"].severity == ("ok" if way else "fail")


@pytest.mark.parametrize(
    ("broken", "status", "said"),
    [(None, 0, "answers"), ("compose", 1, "compose plugin"), ("info", 1, "daemon")],
)
def test_docker_is_a_way_when_plugin_and_daemon_answer(
    machine: Path,
    capsys: pytest.CaptureFixture[str],
    broken: str | None,
    status: int,
    said: str,
) -> None:
    machine.rmdir()
    docker = install(machine)
    if broken:
        docker.answer(broken, 1)
    found = look(capsys, status=status)
    assert said in found["docker"].detail
    assert found["way to a broker"].severity == ("fail" if broken else "warn")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://u:canary@127.0.0.1:1", "nothing is reached at 127.0.0.1:1"),
        ("http://canary", "must look like"),
        ("amqp://u:canary@[::1", "must look like"),
        ("amqp://u:canary@127.0.0.1:canary", "no URL"),
    ],
)
def test_a_given_broker_that_is_not_there_is_told_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("RABBITMQ_URL", url)
    monkeypatch.setenv("RABBITMQ_MANAGEMENT_URL", "http://a:canary@127.0.0.1:1")
    found = look(capsys, status=1)
    assert said in found["RABBITMQ_URL"].detail
    assert not any("canary" in each.detail + each.mend for each in found.values())


@pytest.mark.usefixtures("machine")
def test_a_given_broker_that_listens_is_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RABBITMQ_URL", f"amqp://u:p@{address}")
        monkeypatch.setenv("RABBITMQ_MANAGEMENT_URL", f"http://{address}")
        assert look(capsys)["RABBITMQ_URL"].severity == "ok"


@pytest.fixture
def lived(machine: Path) -> Iterator[Path]:
    """A stack's folder in which the broker lives and a worker does not."""
    house = machine.parent / "project/.warren/up"
    for name in ("broker", "worker-1"):
        (house / name).mkdir(parents=True)
        (house / name / "lock").touch()
    program(machine, "apt-get")
    program(machine, "dpkg-deb")
    with (house / "broker/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield house


@pytest.mark.usefixtures("lived")
def test_a_stack_of_which_a_part_is_down_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    left = look(capsys)["leftovers"]
    assert left.severity == "warn"
    assert "broker runs, worker-1 does not" in left.detail


def test_a_stale_and_a_broken_environment_are_told(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(machine, "apt-get")
    program(machine, "dpkg-deb")
    python = machine.parent / "project/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert "stale" in look(capsys)[".venv"].detail
    python.unlink()
    python.symlink_to("/no/such/python")
    assert look(capsys, status=1)[".venv"].mend == "rm -rf .venv"


def test_it_runs_before_any_package_is_installed_and_tells_a_person_the_line_that_mends_it() -> (
    None
):
    environment = {**os.environ, "RABBITMQ_URL": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-m", "stack.bootstrap", "doctor"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "to mend it: export RABBITMQ_URL=" in done.stdout
    assert done.stderr == ""


def test_an_unknown_option_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.main(["--nonsense"])
    assert ended.value.code == 2
