"""Names for what the integration tests need of the session's broker."""

from collections.abc import Callable

import pytest

from tests.faults.vhost import Vhost


@pytest.fixture
def broker_url(vhost: Vhost) -> str:
    return vhost.url("producer")


@pytest.fixture
def worker_url(vhost: Vhost) -> str:
    return vhost.url("worker")


@pytest.fixture
def close_connections(vhost: Vhost) -> Callable[[str], object]:
    return vhost.close_connections
