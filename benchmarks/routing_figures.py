"""The figures that `routing.py` takes of one run: a scenario under a policy."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from benchmarks.routing_scenarios import ODD, Scenario
from benchmarks.routing_world import PER_S, Call, Chooser, Log, Site, World
from worker.core.candidate import Candidate
from worker.core.routing import Policy, choose

FLOORS: Final = ("round-robin", "random")
"""Policies that know nothing but the weights, to compare with."""

# Where all endpoints cost the same, the choice by price is `ewma`.
POLICIES: Final = (
    *FLOORS,
    *(policy.value for policy in Policy if policy is not Policy.CHEAPEST),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of one run.

    `p50_s`, `p99_s`: how long jobs took that arrived while something was the matter. `off_weights`: how far the share
    of the calls that an endpoint got was off its weight's, relative to that, at most; where something is the matter only
    for a while, afterwards. `wasted`: failed and refused calls for each job. `odd_share`: of the calls while something
    was the matter, those to the odd endpoint. `at_first`: those of its first second, relative to its weight's share.
    """

    scenario: str
    policy: str
    workers: int
    p50_s: float
    p99_s: float
    off_weights: float
    wasted: float
    odd_share: float
    at_first: float


def measure(scenario: Scenario, policy: str, *, workers: int, jobs: int, seed: int) -> Figures:
    """Run a scenario under a policy. The same arguments give the same figures."""
    run_s = jobs / PER_S
    begins_s, ends_s = scenario.begins * run_s, scenario.ends * run_s
    sites = scenario.sites(run_s)
    world = World(
        sites,
        [_chooser(policy, f"{seed} {number}") for number in range(workers)],
        peak=policy == Policy.PEAK_EWMA,
        seed=f"{seed} {scenario.name}",
    )
    log = world.run(jobs)
    then = [call for call in log.calls if begins_s <= call.began_s < ends_s]
    first = [call for call in then if call.began_s < begins_s + 1]
    cuts = quantiles((took for at, took in log.jobs if begins_s <= at < ends_s), n=100)
    return Figures(
        scenario=scenario.name,
        policy=policy,
        workers=workers,
        p50_s=round(cuts[49], 3),
        p99_s=round(cuts[98], 3),
        off_weights=round(_off_weights(log, sites, since_s=ends_s % run_s), 4),
        wasted=round(sum(call.kind is not None for call in log.calls) / jobs, 4),
        odd_share=round(_odd(then), 4),
        at_first=round(_odd(first) * len(sites), 2),
    )


def _odd(calls: Sequence[Call]) -> float:
    return sum(call.site == ODD for call in calls) / (len(calls) or 1)


def _off_weights(log: Log, sites: Sequence[Site], *, since_s: float) -> float:
    counts = Counter(call.site for call in log.calls if call.began_s >= since_s)
    weight = sum(site.weight for site in sites)
    return max(abs(counts[s.name] / counts.total() * weight / s.weight - 1) for s in sites)


def _chooser(policy: str, seed: str) -> Chooser:
    chance = random.Random(seed)  # noqa: S311  # repeatable, not secret
    turns = itertools.count(chance.randrange(6))
    if policy == "round-robin":
        return _round_robin(turns)
    if policy == "random":
        return _random(chance)
    chosen = Policy(policy)
    return lambda field, avoid: choose(
        field, policy=chosen, chance=chance.random, turn=next(turns), avoid=avoid
    )


def _round_robin(turns: "itertools.count[int]") -> Chooser:
    """Go round a wheel on which each endpoint has as many places as its weight."""

    def chosen(field: Sequence[Candidate], avoid: frozenset[str]) -> int | None:
        wheel = [at for at, each in enumerate(field) for _ in range(round(each.weight))]
        turn = next(turns) % len(wheel)
        taking = [at for at in wheel[turn:] + wheel[:turn] if field[at].taking]
        others = [at for at in taking if field[at].name not in avoid]
        return next(iter(others or taking), None)

    return chosen


def _random(chance: random.Random) -> Chooser:
    def chosen(field: Sequence[Candidate], avoid: frozenset[str]) -> int | None:
        taking = [at for at, each in enumerate(field) if each.taking]
        ready = [at for at in taking if field[at].name not in avoid] or taking
        return chance.choices(ready, [field[at].weight for at in ready])[0] if ready else None

    return chosen
