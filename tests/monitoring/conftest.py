"""Prometheus' programs, for the tests of what it is given."""

import pytest

from stack.prometheuspackages import Prometheus, find_prometheus
from tests.faults.vhost import ROOT


@pytest.fixture(scope="session")
def prometheus() -> Prometheus:
    return find_prometheus(ROOT / ".warren/servers")
