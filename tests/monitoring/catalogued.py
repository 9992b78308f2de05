"""The metrics of a worker, as its registry tells them: for the pages and the rules that name them."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from tests.unit.worker.telemetry.samples import HandClock
from worker.telemetry.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name as a page of metrics shows it, its type, its labels and its meaning."""

    name: str
    type: str
    labels: tuple[str, ...]
    about: str


def metrics() -> list[Row]:
    """Give every metric of our own, in the order of the code."""
    catalogue = Catalogue({"premium": ["main"]}, {"main": ["large"]}, HandClock())
    return [_row(family) for family in catalogue.registry.collect() if _is_ours(family)]


def names() -> set[str]:
    """Give the name of every series on a page of metrics, those of a histogram each, and those of the process."""
    catalogue = Catalogue({"premium": ["main"]}, {"main": ["large"]}, HandClock())
    told = {sample.name for family in catalogue.registry.collect() for sample in family.samples}
    return {name for name in told if not name.endswith("_created")}  # no page of ours shows these


def table() -> str:
    """Give the table of docs/monitoring.md."""
    rows = [
        f"| `{row.name}` | {row.type} | {', '.join(f'`{label}`' for label in row.labels)} | {row.about} |"
        for row in metrics()
    ]
    return "\n".join(["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", *rows])


def _is_ours(family: Metric) -> bool:
    return family.name.startswith("warren_")


def _row(family: Metric) -> Row:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Row(name, family.type, tuple(_labels(family)), family.documentation)


def _labels(family: Metric) -> Iterator[str]:
    yield from (label for label in family.samples[0].labels if label != "le")
