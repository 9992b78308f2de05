"""The profile `monitoring` of the compose file: Prometheus and Grafana find what they are given, and nobody else."""

import configparser
import json
import re
from pathlib import Path

import yaml

from tests.faults.vhost import ROOT
from tests.packaging.compose import DOCUMENT, SERVICES, mounts

MOUNTED = {mount.target: mount.file for name in ("prometheus", "grafana") for mount in mounts(name)}


def targets() -> dict[str, str]:
    """Give what each of Prometheus' jobs scrapes, as host:port."""
    found = {}
    for job in yaml.safe_load((ROOT / "docker/prometheus.yml").read_text("utf-8"))[
        "scrape_configs"
    ]:
        for each in job.get("static_configs", []):
            (found[job["job_name"]],) = each["targets"]
        for each in job.get("dns_sd_configs", []):
            found[job["job_name"]] = f"{each['names'][0]}:{each['port']}"
    return found


def grafana() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None)
    read.read(ROOT / "docker/grafana/grafana.ini", encoding="utf-8")
    return read


def test_prometheus_finds_its_configuration_and_its_rules_beside_it() -> None:
    told = next(it for it in SERVICES["prometheus"]["command"] if "--config.file" in it)
    path = Path(told.partition("=")[2])
    (rules,) = yaml.safe_load(MOUNTED[str(path)].read_text("utf-8"))["rule_files"]
    assert MOUNTED[str(path.parent / rules)] == ROOT / "docker/alerts.yml"


def test_what_prometheus_scrapes_is_on_a_network_with_it_where_it_listens() -> None:
    assert targets() == {
        "warren": "worker:9464",
        "rabbitmq": "rabbitmq:15692",
        "rabbitmq-queues": "rabbitmq:15692",
    }
    for name in ("worker", "rabbitmq"):
        shared = set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])
        assert shared == {"metrics"}
    assert DOCUMENT["networks"]["metrics"] == {"internal": True}


def test_the_broker_has_the_plugins_that_it_is_asked_through() -> None:
    (file,) = (m.file for m in mounts("rabbitmq") if m.target == "/etc/rabbitmq/enabled_plugins")
    plugins = set(re.findall(r"\w+", file.read_text("utf-8")))
    assert plugins == {"rabbitmq_management", "rabbitmq_prometheus"}


def test_grafana_reaches_prometheus_and_nothing_of_the_line() -> None:
    (source,) = yaml.safe_load(
        MOUNTED["/etc/grafana/provisioning/datasources/warren.yml"].read_text("utf-8")
    )["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["grafana"]["networks"] == ["dashboard"]
    reached = [name for name, it in SERVICES.items() if "dashboard" in it.get("networks", [])]
    assert sorted(reached) == ["grafana", "prometheus"]


def test_grafana_finds_the_dashboard_where_it_looks_and_opens_it_first() -> None:
    (provider,) = yaml.safe_load(
        MOUNTED["/etc/grafana/provisioning/dashboards/warren.yml"].read_text("utf-8")
    )["providers"]
    home = grafana()["dashboards"]["default_home_dashboard_path"]
    assert str(Path(home).parent) == provider["options"]["path"]
    assert json.loads(MOUNTED[home].read_text("utf-8"))["title"] == "Warren"


def test_grafanas_password_is_the_made_one_and_nobody_gets_in_without(secrets: Path) -> None:
    security = grafana()["security"]
    told = re.fullmatch(r"\$__file\{(/run/secrets/\S+)\}", security["admin_password"])
    assert told is not None
    password = (secrets / MOUNTED[told[1]].name).read_text("utf-8")
    assert len(password) >= 24
    assert grafana()["auth.anonymous"]["enabled"] == "false"
    assert grafana()["users"]["allow_sign_up"] == "false"


def test_grafana_asks_nobody_outside() -> None:
    told = grafana()
    assert set(told["analytics"].values()) == {"false"}
    assert told["plugins"]["preinstall_disabled"] == "true"
    assert told["news"]["news_feed_enabled"] == "false"
