"""A real Prometheus scrapes a real worker and a real broker, with the configuration and the rules of the compose file."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from stack.broker import Broker
from stack.occupancy import wait_until
from stack.prometheuspackages import Prometheus, find_prometheus
from stack.services import free_port
from tests.acceptance.composed import Host
from tests.faults.vhost import ROOT
from tests.monitoring import catalogued
from tests.monitoring.rules import CONFIGURATION, RABBITMQ, RULES, shown
from tests.packaging.compose import SERVICES
from tests.packaging.node import metrics_port

pytestmark = [pytest.mark.broker, pytest.mark.processes]

# It ends by itself, even if nobody ends it any more.
LONGEST_S = 110


@pytest.fixture(scope="module")
def programs() -> Prometheus:
    return find_prometheus(ROOT / ".warren/servers")


@dataclass(frozen=True, slots=True)
class Server:
    """A Prometheus that runs on this machine."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401  # what JSON holds
        """Give the data of an answer; an error fails the test."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        assert "warnings" not in told, told
        return told["data"]

    def value(self, expression: str) -> list[float]:
        return [float(it["value"][1]) for it in self.ask("query", query=expression)["result"]]

    def sees(self, expression: str) -> bool:
        try:
            return any(self.value(expression))
        except OSError:  # it starts
            return False


def configured(folder: Path, host: Host, broker: int) -> Path:
    """Write the compose file's configuration with targets of this machine, and no patience."""
    told = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    for name in told["global"]:
        told["global"][name] = "1s"
    for job in told["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        target = (
            host.here("127.0.0.1:9464") if job["job_name"] == "warren" else f"127.0.0.1:{broker}"
        )
        job["static_configs"] = [{"targets": [target]}]
    told["rule_files"] = [str(ROOT / "docker/alerts.yml")]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(told), encoding="utf-8")
    return file


@pytest.fixture
def server(
    tmp_path: Path,
    programs: Prometheus,
    node: Broker,
    host: Host,
    services: dict[str, subprocess.Popen[bytes]],
) -> Iterator[Server]:
    assert services["worker"].poll() is None
    file = configured(tmp_path, host, metrics_port(node))
    port = free_port()
    here = {"/etc/prometheus/prometheus.yml": str(file), "/prometheus": str(tmp_path / "series")}
    words = [
        f"{option}={here.get(value, value)}"
        for option, _, value in (it.partition("=") for it in SERVICES["prometheus"]["command"])
    ]
    listen = f"--web.listen-address=127.0.0.1:{port}"
    with (
        (tmp_path / "prometheus.log").open("wb") as log,
        subprocess.Popen(
            ["timeout", "--kill-after=5", str(LONGEST_S), programs.server, *words, listen],  # noqa: S607  # wherever the system has it
            env={"PATH": os.environ["PATH"], "GOMAXPROCS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield Server(port)
        finally:
            process.terminate()


def chosen(expression: str) -> str:
    """Give the expression as Grafana asks it, with everything chosen."""
    for name, said in {
        "$__rate_interval": "4s",
        "$__range": "1m",
        "$tier": ".*",
        "$endpoint": ".*",
    }.items():
        expression = expression.replace(name, said)
    assert "$" not in expression
    return expression


@pytest.mark.timeout(180)
def test_prometheus_reads_worker_and_broker_and_answers_whatever_the_dashboard_asks(
    server: Server, host: Host
) -> None:
    for key in ("a", "b"):  # the tier answers alike requests from its cache
        host.run("operator", "submit", "--tier", "budget", "--key", key, "Say hello")
    for seen in (
        "sum(up) == 3",
        "sum(warren_ready) == 1",
        "sum(warren_first_byte_seconds_count) == 1",
        'sum(warren_answers_total{source="cache"}) == 1',
        "count(warren:jobs_ready) > 0",
    ):
        assert wait_until(partial(server.sees, seen), 60), seen

    for title, expression in shown():
        assert server.ask("query", query=chosen(expression))["resultType"] == "vector", title
    ours = {name for name in catalogued.names() if name.startswith("warren_")}
    assert [name for name in RABBITMQ | ours if not server.value(f"count({name})")] == []

    told = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in told} == {r.get("alert", r.get("record")) for r in RULES}
    assert {rule["health"] for rule in told} == {"ok"}
    assert not server.value('ALERTS{alertstate="firing"}')


def test_the_page_of_a_worker_has_no_fault_that_promtool_knows(
    programs: Prometheus, host: Host, services: dict[str, subprocess.Popen[bytes]]
) -> None:
    assert services["worker"].poll() is None
    with urllib.request.urlopen(f"http://{host.here('127.0.0.1:9464')}/metrics", timeout=10) as it:
        page: bytes = it.read()
    done = subprocess.run(
        [programs.promtool, "check", "metrics"],
        input=page,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
