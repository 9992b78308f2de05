"""The table of `./dev demo --endpoints`: what each endpoint does now."""

from collections.abc import Mapping

from rich.table import Table

from stack.gauges import Gauge, Use

_DASH = "-"
_THOUSAND = 1000


def board(gauges: Mapping[str, Gauge], weights: Mapping[str, float]) -> Table:
    """Show each endpoint's share of the calls against its weight, its times, failures, circuit and limits."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("endpoint")
    for name in (
        "weight",
        "share",
        "calls",
        "failed",
        "p50",
        "p99",
        "in flight",
        "circuit",
        "calls/min",
        "tokens/min",
        "left",
    ):
        made.add_column(name, justify="right", no_wrap=True)
    calls = sum(each.told.calls.total() for each in gauges.values())
    weight = sum(weights[name] for name in gauges)
    for name, gauge in gauges.items():
        told, served = gauge.told, gauge.served
        mine = told.calls.total()
        made.add_row(
            name,
            _share(weights[name], weight),
            _share(mine, calls),
            str(mine),
            _share(told.failed, mine),
            _seconds(served.p50_s),
            _seconds(served.p99_s),
            str(served.in_flight),
            circuit(gauge),
            _use(served.uses.get("requests")),
            _use(served.uses.get("tokens")),
            _left(told.left),
        )
    return made


def circuit(gauge: Gauge) -> str:
    """Name the state of an endpoint's circuit, and whether it is held; a dash where no worker tells of either."""
    state = gauge.told.circuit
    if gauge.told.held and state in {None, "closed"}:
        return "held"
    return state or _DASH


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else _DASH


def _seconds(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1f} s"


def _use(use: Use | None) -> str:
    return _DASH if use is None else f"{_short(use.used)}/{_short(use.limit)}"


def _left(left: Mapping[str, float]) -> str:
    """Tell what the workers know to be left, calls before tokens."""
    if not left:
        return _DASH
    return " ".join(_short(int(left[what])) for what in sorted(left))


def _short(number: int) -> str:
    return str(number) if number < _THOUSAND else f"{number / _THOUSAND:.1f}k"
