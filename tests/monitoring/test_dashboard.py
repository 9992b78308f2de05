"""The dashboard and the rules name what there is, and the dashboard shows all that a worker tells."""

from itertools import combinations

import pytest
import yaml

from tests.faults.vhost import ROOT
from tests.monitoring import catalogued
from tests.monitoring.expressions import asked, names
from tests.monitoring.rules import (
    DASHBOARD,
    PANELS,
    PROMETHEUS,
    RABBITMQ,
    RECORDED,
    ROWS,
    shown,
    watched,
)

EVERY = [*shown(), *watched()]
# What Prometheus adds to every series, and a histogram to its own.
ADDED = {"instance", "job", "le"}


def family(name: str) -> str:
    for end in ("_bucket", "_sum", "_count"):
        name = name.removesuffix(end)
    return name


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        (
            'sum by (tier) (rate(a_total{x=~"b(c)"}[5m])) / on (tier) group_left () c > 0.5',
            {"a_total", "c"},
        ),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
        ('max({__name__=~"a_(b|c)_d"}) unless on (x) e:f', {"a_b_d", "a_c_d", "e:f"}),
    ],
)
def test_the_metrics_of_an_expression_are_found(expression: str, metrics: set[str]) -> None:
    assert names(expression) == metrics


@pytest.mark.parametrize(("where", "expression"), EVERY)
def test_an_expression_asks_for_metrics_that_there_are(where: str, expression: str) -> None:
    known = catalogued.names() | RECORDED | RABBITMQ | PROMETHEUS
    assert names(expression), where
    assert names(expression) <= known


@pytest.mark.parametrize(("where", "expression"), EVERY)
def test_an_expression_selects_by_labels_that_its_metric_has(where: str, expression: str) -> None:
    labels = {row.name: {*row.labels, *ADDED} for row in catalogued.metrics()}
    for name, selected in asked(expression):
        if (has := labels.get(family(name))) is not None:
            assert selected <= has, where


def test_nothing_is_listed_of_rabbitmq_that_is_not_asked_for() -> None:
    assert set.union(*(names(expression) for _, expression in EVERY)) >= RABBITMQ


def test_the_dashboard_shows_every_metric_of_a_worker() -> None:
    told = {family(name) for _, expression in shown() for name in names(expression)}
    # Whether a lane is paused shows as its causes.
    assert {row.name for row in catalogued.metrics()} - told == {"warren_paused"}


def test_the_dashboard_has_a_row_for_each_question() -> None:
    assert ROWS == [
        "Jobs",
        "Waits",
        "Calls",
        "Circuits and limits",
        "Tokens and cost",
        "Retries and hedges",
        "Cache and dedupe",
        "Store and broker",
    ]


def test_every_panel_says_what_it_shows_and_asks_the_provisioned_prometheus() -> None:
    source = yaml.safe_load((ROOT / "docker/grafana/datasource.yml").read_text("utf-8"))
    uid = source["datasources"][0]["uid"]
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert {it["datasource"]["uid"] for it in [panel, *panel["targets"]]} == {uid}
    assert {it["datasource"]["uid"] for it in DASHBOARD["templating"]["list"]} == {uid}
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_no_panel_lies_on_another_or_beside_the_page() -> None:
    cells = []
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells.append(
            {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
        )
    assert not any(one & other for one, other in combinations(cells, 2))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
