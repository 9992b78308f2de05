"""The services of docker-compose.yml do their work as it starts them: see `composed`."""

import json
import signal
import subprocess

import pytest

from tests.acceptance.composed import Host
from tests.packaging.compose import SERVICES, duration

pytestmark = [pytest.mark.broker, pytest.mark.processes]


def test_a_request_is_answered_and_an_operator_sees_it(
    host: Host, services: dict[str, subprocess.Popen[bytes]]
) -> None:
    answered = host.run("operator", "submit", "--tier", "standard", "--key", "k", "Say hello")
    assert answered.strip()
    tiers = json.loads(host.run("operator", "status", "--json"))
    assert tiers
    assert host.run("operator", "dead", "list", "--json").strip() == "[]"

    worker = services["worker"]
    worker.send_signal(signal.SIGTERM)
    patience = duration(SERVICES["worker"]["stop_grace_period"]).total_seconds()
    assert worker.wait(patience) == 0
