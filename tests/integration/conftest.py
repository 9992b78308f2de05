"""Names for what the integration tests need of the session's broker."""

from collections.abc import Callable

import pytest

from stack.broker import Broker, find_server, start
from tests.conftest import ROOT, Vhost


@pytest.fixture
def broker_url(vhost: Vhost) -> str:
    return vhost.url("producer")


@pytest.fixture
def worker_url(vhost: Vhost) -> str:
    return vhost.url("worker")


@pytest.fixture
def close_connections(vhost: Vhost) -> Callable[[str], object]:
    return vhost.close_connections


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
