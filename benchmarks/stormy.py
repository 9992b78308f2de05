"""What a storm did, from the simulators' logs of calls and the ledger. Pure.

A call beyond the first of its job's run is a retry. The rate after healing is bounded by what all slots make of
healthy calls: whatever piles up behind a storm, it comes back no faster than jobs are worked on, and never as a storm
of retries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bounds import Bound, Report
from stack.auditor import Findings
from stack.callbook import Call
from worker.core.letters import Explanation
from worker.core.model import State

MOST_RETRIES = 0.2
_OK = 200
# A slot begins one call more in a span than its length divided by the call's; over so many seconds that is 5 %.
_SPAN_S = 8.0
_MARGIN = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """When it stormed, in seconds of the simulators' clock, and what the workers can do in fair weather."""

    began: float
    healed: float
    rate: float
    """Jobs a second that come."""
    capacity: float
    """Healthy calls a second that all slots make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of the run: calls that began, and how many of them failed."""

    at: int
    calls: int
    failed: int


def judge(
    calls: Sequence[Call], jobs: Sequence[Explanation], findings: Findings, weather: Weather
) -> Report:
    """Judge a storm once nothing moves any more."""
    first = len({(call.job, call.run) for call in calls})
    retries = (len(calls) - first) / len(calls) if calls else 0.0
    dead = sum(job.state is State.DEAD_LETTERED for job in jobs)
    other = sum(job.state not in {State.DEAD_LETTERED, State.COMPLETED} for job in jobs)
    peak = busiest([call.began for call in calls if call.began >= weather.healed], _SPAN_S)
    stormed = [call for call in calls if weather.began <= call.began < weather.healed]
    last = max((entry.at.timestamp() for job in jobs for entry in job.history), default=0.0)
    figures = {
        "jobs": len(jobs),
        "calls": len(calls),
        "retries": len(calls) - first,
        "share_retries": round(retries, 4),
        "calls_in_the_storm": len(stormed),
        "rate_of_jobs": weather.rate,
        "rate_in_the_storm": round(len(stormed) / (weather.healed - weather.began), 2),
        "peak_rate_after_healing": round(peak, 2),
        "peak_against_normal": round(peak / weather.rate, 2),
        "last_end_after_healing_s": round(last - weather.healed, 1),
        "dead_letters": dead,
        "lost": len(findings.lost),
    }
    bounds = [
        Bound(name="share of calls that are retries", figure=round(retries, 4), below=MOST_RETRIES),
        Bound(name="dead letters", figure=dead, exactly=0),
        Bound(name="ended otherwise than completed", figure=other, exactly=0),
        Bound(name="lost", figure=len(findings.lost), exactly=0),
        Bound(name="other broken promises", figure=_broken(findings), exactly=0),
        Bound(
            name=f"calls a second after healing, over any {_SPAN_S:g} s",
            figure=round(peak, 2),
            below=round(weather.capacity * _MARGIN, 2),
        ),
    ]
    return Report(figures=figures, bounds=bounds)


def busiest(instants: Sequence[float], span_s: float) -> float:
    """Give the largest rate, a second, that any span of this length had."""
    ordered, most, begin = sorted(instants), 0, 0
    for end, at in enumerate(ordered):
        while ordered[begin] <= at - span_s:
            begin += 1
        most = max(most, end - begin + 1)
    return most / span_s


def drained_s(waiting: Sequence[tuple[float, int]], healed: float, usual: int) -> float | None:
    """Tell how long after healing no more jobs than usual were unanswered; None: it never came to that.

    `waiting` has how many jobs were unanswered at each instant.
    """
    return next((at - healed for at, count in waiting if at >= healed and count <= usual), None)


def seconds(calls: Sequence[Call]) -> list[Second]:
    """Give every second from the first call to the last."""
    if not calls:
        return []
    began = min(call.began for call in calls)
    places = [int(call.began - began) for call in calls]
    made, failed = [0] * (max(places) + 1), [0] * (max(places) + 1)
    for place, call in zip(places, calls, strict=True):
        made[place] += 1
        failed[place] += call.status != _OK
    return [
        Second(at=at, calls=count, failed=bad)
        for at, (count, bad) in enumerate(zip(made, failed, strict=True))
    ]


def _broken(findings: Findings) -> int:
    return sum(len(found) for name, found in findings.faults.items() if name != "lost")
