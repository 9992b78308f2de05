"""What `routing.py` lets the policies stand: endpoints with which something is the matter."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from benchmarks.routing_world import PER_S, Pace, Site

ODD: Final = "odd"
"""The endpoint that a scenario is about."""

LOADING_S: Final = 20.0

Sites: TypeAlias = Callable[[float], Sequence[Site]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The endpoints of a run of so many seconds; `begins`, `ends`: the shares of it between which something is the matter."""

    name: str
    says: str
    sites: Sites
    begins: float = 0.0
    ends: float = 1.0


def _odd_one(odd: Site) -> Sequence[Site]:
    return [Site(name="one"), Site(name="other"), odd]


def _meanwhile(times: float) -> Sites:
    def sites(run_s: float) -> Sequence[Site]:
        return _odd_one(Site(name=ODD, pace=_between(0.3 * run_s, 0.6 * run_s, times)))

    return sites


def _fresh(run_s: float) -> Sequence[Site]:
    opens_s = 0.3 * run_s
    return _odd_one(Site(name=ODD, opens_s=opens_s, pace=_between(0, opens_s + LOADING_S, 5.0)))


def _between(begins_s: float, ends_s: float, times: float) -> Pace:
    return lambda now: times if begins_s <= now < ends_s else 1.0


SCENARIOS: Final = (
    Scenario(
        name="equal",
        says="three that are alike but for their weights, 1:2:3",
        sites=lambda _: [
            Site(name=str(weight), weight=weight, at_once=30 * weight) for weight in (1, 2, 3)
        ],
    ),
    Scenario(
        name="slow",
        says="one takes ten times as long",
        sites=lambda _: _odd_one(Site(name=ODD, pace=lambda _: 10.0)),
    ),
    Scenario(
        name="recovers",
        says="one takes ten times as long for a while",
        sites=_meanwhile(10.0),
        begins=0.3,
        ends=0.6,
    ),
    Scenario(
        name="hangs",
        says="one answers nothing for a while; a call is given up after 60 s",
        sites=_meanwhile(math.inf),
        begins=0.3,
        ends=0.6,
    ),
    Scenario(
        name="small",
        says="one is slowed down by more than three calls at once",
        sites=lambda _: _odd_one(Site(name=ODD, at_once=3)),
    ),
    Scenario(
        name="failing",
        says="one fails half of its calls, within 50 ms",
        sites=lambda _: _odd_one(Site(name=ODD, failing=0.5)),
    ),
    Scenario(
        name="down",
        says="one fails all of its calls, within 50 ms",
        sites=lambda _: _odd_one(Site(name=ODD, failing=1.0)),
    ),
    Scenario(
        name="limited",
        says="one has a limit of half its share, and refuses above it",
        sites=lambda _: _odd_one(Site(name=ODD, per_minute=60 * PER_S / 6)),
    ),
    Scenario(
        name="fresh",
        says="one joins, and takes five times as long for 20 s",
        sites=_fresh,
        begins=0.3,
        ends=0.4,
    ),
)
