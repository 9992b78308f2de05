"""What workers and simulators show of each endpoint now: metrics pages and stats, read and put together."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from stack.house import House
from stack.upstreams import control

OK: Final = "ok"
# The worse one first: of several workers' circuits the worst is shown.
_STATES: Final = ("open", "half_open", "closed")
# Each label of the workers' metrics also has the value `other`, which tells of no limit.
_LIMITED: Final = ("requests", "tokens")
_PATIENCE_S: Final = 2


@dataclass(slots=True, kw_only=True)
class Told:
    """What the workers tell of an endpoint, over all of them.

    `calls` by kind; `circuit` None: no worker tells of circuits; `left` has what is left of each limit, by what it
    limits, as the worker knows that knows of least.
    """

    calls: Counter[str] = field(default_factory=Counter)
    held: bool = False
    circuit: str | None = None
    left: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many calls did not complete."""
        return self.calls.total() - self.calls[OK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of a limit is used in the minute until now."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a simulator tells of itself; times in seconds, None: it has answered nothing yet."""

    in_flight: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    uses: Mapping[str, Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One endpoint now, from both sides."""

    told: Told
    served: Served


def read_gauges(house: House) -> dict[str, Gauge]:
    """Ask every worker and every simulator of a house; who does not answer at once tells nothing."""
    pages = [f"http://127.0.0.1:{port}/metrics" for port in house.worker_ports]
    stats = {name: control(url, "stats") for name, url in house.upstreams.items()}
    with ThreadPoolExecutor(max_workers=8) as asking:
        texts = list(asking.map(_page, pages))
        served = dict(zip(stats, asking.map(_page, stats.values()), strict=True))
    told = read_pages(texts)
    return {
        name: Gauge(
            told=told.get(name, Told()),
            served=read_stats(json.loads(text)) if text else Served(),
        )
        for name, text in served.items()
    }


def read_pages(pages: Iterable[str]) -> dict[str, Told]:
    """Read workers' metrics pages, by endpoint. Metrics that a page does not have tell nothing."""
    found: dict[str, Told] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                endpoint = sample.labels.get("endpoint")
                if endpoint is not None:
                    told = found.setdefault(endpoint, Told())
                    _read_sample(told, sample.name, sample.labels, sample.value)
    return found


def read_stats(stats: Mapping[str, Any]) -> Served:
    """Read a simulator's stats; of several keys the one that has used most of a limit is told."""
    uses: dict[str, Use] = {}
    for key in stats["keys"].values():
        for what, told in key["limits"].items():
            use = Use(used=told["limit"] - told["left"], limit=told["limit"])
            uses[what] = max(uses.get(what, use), use, key=lambda each: each.used)
    seconds = stats["seconds"]
    return Served(
        in_flight=stats["in_flight"], p50_s=seconds["p50"], p99_s=seconds["p99"], uses=uses
    )


def _read_sample(told: Told, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "warren_calls_total":
            told.calls[labels["kind"]] += int(value)
        case "warren_endpoint_held":
            told.held = told.held or bool(value)
        case "warren_circuit_state" if value:
            states = [labels["state"], *filter(None, [told.circuit])]
            told.circuit = min(states, key=_badness)
        case "warren_limit_left" if labels["what"] in _LIMITED and not math.isnan(value):
            what = labels["what"]
            told.left[what] = min(value, told.left.get(what, value))
        case _:
            pass


def _badness(state: str) -> int:
    return _STATES.index(state) if state in _STATES else 0


def _page(url: str) -> str:
    try:
        with urlopen(url, timeout=_PATIENCE_S) as page:  # noqa: S310  # our own services
            text: str = page.read().decode()
            return text
    except OSError:
        return ""
