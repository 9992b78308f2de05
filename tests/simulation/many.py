"""Many schedules on all cores: what they came to, and the first that broke a promise."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from time import monotonic
from typing import Final

from tests.simulation.auditor import Broken
from tests.simulation.schedule import Verdict, seeded, shrink

_CHUNK: Final = 100
# So many broken seeds are kept; who has them can mend what they have in common.
_MOST_KEPT: Final = 20


@dataclass(slots=True)
class Tally:
    """What came of many schedules; `broken` are seeds with their first violation."""

    schedules: int = 0
    steps: int = 0
    calls: int = 0
    virtual_s: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Broken] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.steps += verdict.steps
        self.calls += verdict.calls
        self.virtual_s += verdict.seconds
        self.actions.update(action.what for action in verdict.plan.actions)
        self.kinds.update(verdict.kinds)
        if verdict.violations:
            self.broken.append((verdict.plan.seed, str(verdict.violations[0])))

    def merge(self, other: "Tally") -> None:
        """Count what another has counted."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.calls += other.calls
        self.virtual_s += other.virtual_s
        self.actions.update(other.actions)
        self.kinds.update(other.kinds)
        self.broken = sorted(self.broken + other.broken)[:_MOST_KEPT]


def play(seeds: Sequence[int]) -> Tally:
    """Play schedules one after the other in this process."""
    tally = Tally()
    collecting = gc.isenabled()
    gc.disable()  # a schedule's garbage hangs together: it is collected between schedules, and quickly
    try:
        for seed in seeds:
            tally.add(seeded(seed))
        gc.collect()
    finally:
        if collecting:
            gc.enable()
    return tally


def play_all(
    seeds: range, *, report: Callable[[Tally, float], None], processes: int | None = None
) -> Tally:
    """Play schedules on all cores; `report` hears what is done so far, and in how many seconds."""
    total, began = Tally(), monotonic()
    workers = processes or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for tally in pool.map(play, _chunks(seeds)):
            total.merge(tally)
            report(total, monotonic() - began)
    return total


def explain(seed: int, without: Sequence[int] | None = None) -> Iterator[str]:
    """Tell a seed's story in lines; `without` None: of the smallest part that still breaks a promise."""
    if without is None:
        verdict = seeded(seed)
        without = sorted(shrink(verdict)) if verdict.violations else ()
    verdict = seeded(seed, without=without, traced=True)
    yield f"seed {seed}: {verdict.plan.workers} workers, {verdict.plan.mood}"
    yield from (f"  {action}" for action in verdict.plan.actions)
    yield ""
    yield from _shortened(verdict.trace)
    yield ""
    yield from (str(violation) for violation in verdict.violations)
    yield verdict.digest[:16]
    left_out = f" --without {','.join(map(str, without))}" if without else ""
    yield f"again: python -m tests.simulation --only {seed}{left_out}"


def _chunks(seeds: range) -> Iterator[range]:
    for start in range(0, len(seeds), _CHUNK):
        yield seeds[start : start + _CHUNK]


def _shortened(trace: Sequence[str], most: int = 200) -> Iterator[str]:
    """Give a trace's beginning and its last lines: what turns in circles is long."""
    if len(trace) <= most:
        yield from trace
        return
    yield from trace[: most - 20]
    yield f"      … {len(trace) - most} lines …"
    yield from trace[-20:]
