"""`./dev up` and `down` as a person types them: on other numbers of workers, and where docker is all there is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.broker import Broker
from stack.house import lower, ready_url
from stack.redis import running
from stack.services import Service, answers
from tests.faults.vhost import ROOT
from tests.unit.stack.fake_docker import install
from worker.settings import load
from worker.stores import archive

pytestmark = [pytest.mark.broker, pytest.mark.processes]

_DEV = """
import sys
from pathlib import Path
import stack.server, stack.supply
from stack import commands, living
living._FOLDER = Path(sys.argv[1])
living.ROOT = living._FOLDER.parent
if sys.argv[-1] == "docker":  # the machine has nothing else
    sys.argv.pop()
    stack.supply.SERVERS = living._FOLDER / "servers"
    stack.server._INSTALLED = ()
sys.exit(commands.run(commands.find(sys.argv[2]), sys.argv[3:]))
"""


def _dev(folder: Path, *arguments: str, path: str | None = None) -> str:
    given = {"RABBITMQ_URL", "WARREN_STORE_URL"}
    environment = {name: it for name, it in os.environ.items() if name not in given}
    if path is not None:
        environment["PATH"] = path
        arguments = (*arguments, "docker")
    return subprocess.run(
        [sys.executable, "-c", _DEV, str(folder), *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _ports(told: str) -> list[int]:
    return [int(port) for port in re.findall(r"worker-\d +running +http://127.0.0.1:(\d+)/", told)]


def test_up_with_more_or_fewer_workers_has_these_and_tells_their_ports(tmp_path: Path) -> None:
    try:
        (first,) = _ports(_dev(tmp_path, "up", "--workers", "1"))
        kept, second = _ports(_dev(tmp_path, "up", "--workers", "2"))
        assert kept == first
        assert _ports(_dev(tmp_path, "status")) == [first, second]
        assert all(answers(ready_url(port)) for port in (first, second))
        told = _dev(tmp_path, "up", "--workers", "1")
        assert "stopping worker-2" in told
        assert _ports(told) == _ports(_dev(tmp_path, "status")) == [first]
        assert not Service(folder=tmp_path / "worker-2").alive
    finally:
        lower(tmp_path, tell=lambda _: None, within_s=5)


def test_up_on_redis_starts_one_of_its_own_which_running_workers_cannot_leave(
    tmp_path: Path,
) -> None:
    try:
        told = _dev(tmp_path, "up", "--workers", "1", "--store", "redis")
        assert re.search(r"store +running +a private Redis, redis://127\.0\.0\.1:\d+/0", told)
        settings = load(tmp_path / "warren.toml", {}).store
        assert settings.url is not None
        assert settings.url in told
        assert dict(archive(settings).counts().open_jobs) == {}
        with pytest.raises(subprocess.CalledProcessError):
            _dev(tmp_path, "up", "--workers", "1", "--store", "embedded")
        assert "a private Redis" in _dev(tmp_path, "up", "--workers", "1")
        assert "stopping Redis" in _dev(tmp_path, "down")
        assert running(tmp_path / "redis") is None
    finally:
        lower(tmp_path, tell=lambda _: None, within_s=5)


def test_up_runs_on_a_container_where_docker_is_all_there_is_and_down_removes_it(
    tmp_path: Path, broker: Broker, passwords: dict[str, str]
) -> None:
    # The container's ports are those of the session's broker, whose passwords the folder has already.
    docker = install(tmp_path / "bin", amqp=broker.amqp_port, http=broker.http_port)
    folder = tmp_path / "up"
    folder.mkdir()
    (folder / "credentials.json").write_text(json.dumps(passwords), encoding="utf-8")
    path = str(tmp_path / "bin")
    try:
        told = _dev(folder, "up", "--workers", "1", path=path)
        assert re.search(
            r"broker +running +rabbitmq:4.2.10-management, the container warren-", told
        )
        assert len(_ports(told)) == 1
        assert len(docker.of("run")) == 1
        _dev(folder, "up", "--workers", "1", path=path)
        assert len(docker.of("run")) == 1
        assert not docker.of("rm")
    finally:
        _dev(folder, "down", path=path)
    assert len(docker.of("rm")) == 1
    assert not (folder / "broker/container").exists()
