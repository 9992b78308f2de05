"""What all tests share: a private RabbitMQ for the session, and a virtual host of its own for each test."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from stack import credentials
from stack.broker import Broker, find_server, start
from tests.faults.vhost import DEFINITIONS, ROOT, Vhost, open_vhost

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker-release",
        help="take RabbitMQ from this Debian release (trixie: 4.0, sid: 4.3) instead of the machine's",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)


@pytest.fixture(scope="session")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("credentials") / "credentials.json"
    return credentials.ensure(file, credentials.user_names(DEFINITIONS))


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    passwords: dict[str, str],
) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    definitions = folder / "definitions.json"
    credentials.write_definitions(DEFINITIONS, definitions, passwords)
    release = request.config.getoption("--broker-release")
    server = find_server(ROOT / ".warren/servers", release=release)
    node = start(server, folder / "node", definitions=definitions, die_with_parent=True)
    yield node
    node.kill()


@pytest.fixture
def restart_broker(broker: Broker, request: pytest.FixtureRequest) -> Callable[[], object]:
    """SIGKILL the session's node and start it again in its folder, on its ports."""

    def restart() -> object:
        broker.kill()
        release = request.config.getoption("--broker-release")
        return start(
            find_server(ROOT / ".warren/servers", release=release),
            broker.folder,
            definitions=broker.folder.parent / "definitions.json",
            amqp_port=broker.amqp_port,
            http_port=broker.http_port,
            die_with_parent=True,
        )

    return restart


@pytest.fixture
def vhost(broker: Broker, passwords: dict[str, str]) -> Iterator[Vhost]:
    """A fresh virtual host: no test sees another's messages."""
    with open_vhost(broker, passwords) as made:
        yield made
