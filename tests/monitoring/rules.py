"""The files that Prometheus and Grafana are given, read."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.faults.vhost import ROOT

ALERTS_FILE = ROOT / "docker/alerts.yml"
CONFIGURATION = ROOT / "docker/prometheus.yml"
DASHBOARD_FILE = ROOT / "docker/grafana/warren.json"

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}

DASHBOARD: dict[str, Any] = json.loads(DASHBOARD_FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [it for it in DASHBOARD["panels"] if it["type"] != "row"]
ROWS: list[str] = [it["title"] for it in DASHBOARD["panels"] if it["type"] == "row"]


def shown() -> Iterator[tuple[str, str]]:
    """Give every expression of the dashboard, after the title of its panel."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def watched() -> Iterator[tuple[str, str]]:
    """Give every expression of the rules, after their names."""
    for rule in RULES:
        yield rule["alert"] if "alert" in rule else rule["record"], rule["expr"]


# What RabbitMQ tells of itself, of the names that are used here; a test asks a node for each.
RABBITMQ = frozenset(
    {
        "rabbitmq_alarms_free_disk_space_watermark",
        "rabbitmq_alarms_memory_used_watermark",
        "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_disk_space_available_bytes",
        "rabbitmq_disk_space_available_limit_bytes",
        "rabbitmq_process_resident_memory_bytes",
        "rabbitmq_resident_memory_limit_bytes",
    }
)
# What Prometheus makes itself.
PROMETHEUS = frozenset({"ALERTS", "up"})
