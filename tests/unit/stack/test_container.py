import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import container
from stack.errors import BrokerFailed
from tests.unit.stack.fake_docker import FakeDocker, install


@pytest.fixture
def port() -> Iterator[int]:
    """A port where somebody greets as RabbitMQ does."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                caller.recv(8)
                caller.sendall(b"\x01")

    thread = threading.Thread(target=greet)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def docker(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = install(tmp_path / "bin", amqp=port, http=port + 1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return fake


def start(folder: Path) -> container.Container:
    return container.start(folder, user="admin", password="canary", timeout_s=5)


def test_docker_is_asked_for_a_patched_broker_on_loopback_alone(
    docker: FakeDocker, tmp_path: Path, port: int
) -> None:
    started = start(tmp_path / "broker")

    (line,) = docker.of("run")
    asked = line["asked"]
    assert asked[-1] == container.IMAGE == "rabbitmq:4.2.10-management"
    published = [asked[n + 1] for n, word in enumerate(asked) if word == "--publish"]
    assert published == ["127.0.0.1::5672", "127.0.0.1::15672"]
    assert (started.amqp_port, started.http_port) == (port, port + 1)


def test_the_password_is_in_no_command_line(docker: FakeDocker, tmp_path: Path) -> None:
    start(tmp_path / "broker")

    (line,) = docker.of("run")
    assert "canary" not in " ".join(line["asked"])
    assert line["environment"] == {
        "RABBITMQ_DEFAULT_USER": "admin",
        "RABBITMQ_DEFAULT_PASS": "canary",
    }


def test_the_container_gets_the_projects_configuration_without_what_is_of_a_host(
    docker: FakeDocker, tmp_path: Path
) -> None:
    start(tmp_path / "broker")

    (line,) = docker.of("run")
    mount = line["asked"][line["asked"].index("--mount") + 1]
    configuration = tmp_path / "broker/rabbitmq.conf"
    assert f"source={configuration}," in mount
    assert configuration.stat().st_mode & 0o044 == 0o044  # the container's user is another
    text = configuration.read_text(encoding="utf-8")
    assert "consumer_timeout = 3600000" in text
    assert "\nload_definitions" not in text
    assert "\nmanagement.tcp.ip" not in text


def test_a_running_container_is_found_again_and_removed_with_its_data(
    docker: FakeDocker, tmp_path: Path
) -> None:
    folder = tmp_path / "broker"
    assert container.running(folder) is None
    started = start(folder)
    assert container.running(folder) == started

    container.remove(folder)
    assert docker.of("rm") == [
        {"asked": ["rm", "--force", "--volumes", started.name], "environment": {}}
    ]
    assert container.running(folder) is None
    container.remove(folder)
    assert len(docker.of("rm")) == 1


def test_two_folders_have_two_containers(docker: FakeDocker, tmp_path: Path) -> None:
    assert start(tmp_path / "one").name != start(tmp_path / "two").name
    assert len(docker.of("run")) == 2


def test_a_container_that_stopped_is_not_running(docker: FakeDocker, tmp_path: Path) -> None:
    start(tmp_path / "broker")
    docker.answer("inspect", 0, "false")
    assert container.running(tmp_path / "broker") is None


def test_a_container_that_does_not_come_up_tells_why_and_is_removed(
    docker: FakeDocker, tmp_path: Path
) -> None:
    docker.answer("5672/tcp", 0, "127.0.0.1:1")
    docker.answer("inspect", 0, "false")
    with pytest.raises(BrokerFailed, match="boot failed"):
        start(tmp_path / "broker")
    assert docker.of("rm")
    assert not container.is_kept(tmp_path / "broker")


def test_what_docker_says_when_it_refuses_is_told(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("run", 125, "manifest unknown")
    docker.answer(container.IMAGE, 125, "manifest unknown")
    with pytest.raises(BrokerFailed, match="docker run failed: manifest unknown"):
        start(tmp_path / "broker")


def test_a_container_that_docker_does_not_remove_is_not_forgotten(
    docker: FakeDocker, tmp_path: Path
) -> None:
    started = start(tmp_path / "broker")
    docker.answer(started.name, 1, "the daemon does not answer")
    with pytest.raises(BrokerFailed, match="does not answer"):
        container.remove(tmp_path / "broker")
    assert container.is_kept(tmp_path / "broker")

    docker.answer(started.name, 1, "Error: No such container: x")
    container.remove(tmp_path / "broker")
    assert not container.is_kept(tmp_path / "broker")


@pytest.mark.parametrize(
    ("question", "said"), [("compose", "docker-compose-plugin"), ("info", "daemon")]
)
def test_what_keeps_docker_from_being_a_way_is_told(
    docker: FakeDocker, question: str, said: str
) -> None:
    assert container.obstacle() is None
    docker.answer(question, 1, "no")
    docker.answer("version", 1 if question == "compose" else 0, "")
    docker.answer("info", 1 if question == "info" else 0, "")
    obstacle = container.obstacle()
    assert obstacle is not None
    assert said in obstacle


def test_no_docker_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert container.obstacle() == "docker is not installed"
