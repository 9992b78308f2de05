"""Every alert fires on what it is for, and on nothing that looks like it: promtool evaluates the rules on made-up series."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.prometheuspackages import Prometheus
from tests.faults.vhost import ROOT
from tests.monitoring.cases import CASES, Case
from tests.monitoring.rules import ALERTS, ALERTS_FILE, CONFIGURATION

PAGE = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")


def promtool(prometheus: Prometheus, *arguments: str | Path) -> None:
    done = subprocess.run(
        [prometheus.promtool, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def told(alert: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Give what promtool is to expect of an alert that fires: its labels, and its texts with them filled in."""

    def filled(text: str) -> str:
        return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)

    rule = ALERTS[alert]
    return {
        "exp_labels": {**labels, **rule["labels"]},
        "exp_annotations": {name: filled(text) for name, text in rule["annotations"].items()},
    }


def tried(case: Case) -> dict[str, Any]:
    """Give a case as promtool's test."""
    return {
        "name": f"{case.alert}: {case.why}",
        "interval": "1m",
        "input_series": [{"series": name, "values": it} for name, it in case.series.items()],
        "alert_rule_test": [
            {
                "alertname": case.alert,
                "eval_time": f"{case.minute}m",
                "exp_alerts": [told(case.alert, labels) for labels in case.fires],
            }
        ],
    }


def test_prometheus_takes_its_configuration_and_the_rules(prometheus: Prometheus) -> None:
    promtool(prometheus, "check", "config", CONFIGURATION)
    promtool(prometheus, "check", "rules", "--lint=all", "--lint-fatal", ALERTS_FILE)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_must_and_only_then(
    alert: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    cases = [case for case in CASES if case.alert == alert]
    assert any(case.fires for case in cases), "no case in which it fires"
    assert any(not case.fires for case in cases), "no case in which it does not"
    file = tmp_path / "tests.yml"
    tests = {
        "rule_files": [str(ALERTS_FILE)],
        "evaluation_interval": "1m",
        "tests": [tried(case) for case in cases],
    }
    file.write_text(yaml.safe_dump(tests), encoding="utf-8")
    promtool(prometheus, "test", "rules", file)


def test_every_case_is_of_an_alert_that_there_is() -> None:
    assert {case.alert for case in CASES} == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_tells_what_is_wrong_what_to_do_and_where_more_stands(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{alert.lower()}"


def test_the_page_has_a_section_for_every_alert_and_for_no_other() -> None:
    assert re.findall(r"^### (Warren\w+)$", PAGE, re.MULTILINE) == list(ALERTS)
