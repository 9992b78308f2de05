"""What the demo of three endpoints shows is what workers and simulators tell, and a dash where they tell nothing."""

import io

import pytest
from rich.console import Console

from stack.board import board, circuit
from stack.gauges import Gauge, Served, Told, Use, read_pages, read_stats

OF_TODAY = """\
# TYPE warren_calls_total counter
warren_calls_total{tier="standard",endpoint="slow",kind="ok"} 3.0
warren_calls_total{tier="standard",endpoint="slow",kind="overloaded"} 1.0
warren_calls_total{tier="premium",endpoint="slow",kind="ok"} 2.0
# TYPE warren_endpoint_held gauge
warren_endpoint_held{endpoint="slow"} 1.0
warren_endpoint_held{endpoint="fast"} 0.0
"""


def pool(state: str, left: str) -> str:
    states = "".join(
        f'warren_circuit_state{{endpoint="slow",state="{each}"}} {float(each == state)}\n'
        for each in ("closed", "open", "half_open")
    )
    return (
        f"# TYPE warren_circuit_state gauge\n{states}"
        f'# TYPE warren_limit_left gauge\nwarren_limit_left{{endpoint="slow",what="requests"}} {left}\n'
        'warren_limit_left{endpoint="slow",what="tokens"} NaN\n'
        'warren_limit_left{endpoint="slow",what="other"} 0.0\n'
    )


def key(*, requests_left: int) -> dict[str, object]:
    return {"limits": {"requests": {"limit": 120, "left": requests_left}}}


def test_calls_are_added_up_over_workers_and_tiers() -> None:
    told = read_pages([OF_TODAY, OF_TODAY])
    assert told["slow"].calls == {"ok": 10, "overloaded": 2}
    assert told["slow"].failed == 2
    assert (told["slow"].held, told["fast"].held) == (True, False)


def test_a_page_without_circuits_and_limits_tells_nothing_of_them() -> None:
    told = read_pages([OF_TODAY])["slow"]
    assert (told.circuit, told.left) == (None, {})


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        (("closed", "closed"), "closed"),
        (("closed", "open"), "open"),
        (("half_open", "closed"), "half_open"),
        (("half_open", "open"), "open"),
    ],
)
def test_of_several_workers_circuits_the_worst_is_told(states: tuple[str, str], shown: str) -> None:
    assert read_pages([pool(state, "1") for state in states])["slow"].circuit == shown


def test_of_several_workers_limits_the_least_that_is_left_is_told_and_never_an_unknown_one() -> (
    None
):
    told = read_pages([pool("closed", "NaN"), pool("closed", "17.0"), pool("closed", "40.0")])
    assert told["slow"].left == {"requests": 17}


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (Told(), "-"),
        (Told(held=True), "held"),
        (Told(held=True, circuit="closed"), "held"),
        (Told(held=True, circuit="open"), "open"),
        (Told(circuit="closed"), "closed"),
    ],
)
def test_a_hold_is_shown_unless_the_circuit_says_more(told: Told, shown: str) -> None:
    assert circuit(Gauge(told=told, served=Served())) == shown


def test_of_several_keys_the_use_of_the_fullest_is_told() -> None:
    served = read_stats(
        {
            "in_flight": 2,
            "seconds": {"p50": 0.4, "p99": None},
            "keys": {"a": key(requests_left=100), "b": key(requests_left=5)},
        }
    )
    assert served.uses == {"requests": Use(used=115, limit=120)}
    assert (served.in_flight, served.p50_s, served.p99_s) == (2, 0.4, None)


def test_the_table_sets_shares_against_weights_and_has_dashes_for_what_nobody_tells() -> None:
    gauges = {
        **{
            name: Gauge(told=told, served=Served()) for name, told in read_pages([OF_TODAY]).items()
        },
        "limited": Gauge(
            told=Told(left={"tokens": 1234.0, "requests": 9.0}),
            served=Served(
                in_flight=3, p50_s=0.41, p99_s=2.5, uses={"tokens": Use(used=12100, limit=20000)}
            ),
        ),
    }
    output = io.StringIO()
    console = Console(file=output, width=100)
    console.print(board(gauges, {"slow": 1, "fast": 1, "limited": 2}))
    head, slow, fast, limited = output.getvalue().splitlines()
    assert head.split()[:3] == ["endpoint", "weight", "share"]
    assert slow.split() == ["slow", "25%", "100%", "6", "17%", *"--", "0", "held", *"---"]
    assert fast.split() == ["fast", "25%", "0%", "0", *"---", "0", *"----"]
    assert limited.split() == [
        *("limited", "50%", "0%", "0", "-", "0.4", "s", "2.5", "s", "3", "-", "-"),
        *("12.1k/20.0k", "9", "1.2k"),
    ]
