"""How many calls a lane may start: so many in any minute, spread evenly.

Two rules of one form hold at once. The minute is the promise; the short one only keeps a lane from spending its
minute in one burst beside the interactive jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

# A call reaches the upstream a little after its permit was given: the worker counts a minute a second longer,
# so that the upstream never sees more in its own.
_MINUTE: Final = timedelta(seconds=61)
# What a delivery may be held for, so that spreading alone never parks a job.
_SHORT: Final = timedelta(seconds=2)
_SHORTS_A_MINUTE: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ration:
    """At most `calls` starts in any span of this length."""

    calls: int
    span: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The right to make a try now; its number is for giving it back unused. None: nothing is counted."""

    number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPermit:
    """No call may start before so much time has passed."""

    wait: timedelta


def rations(per_minute: int) -> tuple[Ration, ...]:
    """Give the rules of a lane that may start so many calls a minute."""
    short = -(-per_minute // _SHORTS_A_MINUTE)
    return (
        Ration(calls=short, span=_SHORT),
        Ration(calls=per_minute, span=_MINUTE),
    )


def wait_for(ages: Sequence[timedelta | None], rules: Sequence[Ration]) -> timedelta | None:
    """Tell how long the next start must wait; None: it may be now.

    `ages` has for each rule the age of the `calls`-th latest start, None if there are fewer: as long as that one
    is younger than the span, the span is full. An age below zero (the clock went back) counts as zero.
    """
    waits = [
        rule.span - max(age, timedelta())
        for age, rule in zip(ages, rules, strict=True)
        if age is not None and age < rule.span
    ]
    return max(waits, default=None)
