"""Fuzzing: so many seeded cases of one sort, and every one that ended otherwise than it may.

As a program (`python -m tests.faults.fuzzing answers 7 1000`) it prints what it found as JSON, so that an
experiment can run several side by side.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from tests.faults import envelopes
from tests.faults.answers import Answers, judge_lines
from tests.faults.noise import Noise

_MOST_TOLD: Final = 20


@dataclass(slots=True, kw_only=True)
class Fuzzed:
    """How often each end was reached, how many ended otherwise, and the first of those."""

    ends: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    told: list[str] = field(default_factory=list)


async def fuzz(what: str, seed: int, count: int) -> Fuzzed:
    """Judge `count` cases of a sort: `envelopes`, `answers` or `lines`."""
    fuzzed, ends = Fuzzed(), Counter[str]()
    judge = SORTS[what](Noise(seed))
    for number in range(count):
        try:
            ends[await judge()] += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody declared it
            fuzzed.wrong += 1
            if len(fuzzed.told) < _MOST_TOLD:
                fuzzed.told.append(f"{what}, seed {seed}, case {number}: {error!r}"[:500])
    fuzzed.ends = dict(ends)
    return fuzzed


def _envelopes(noise: Noise) -> Callable[[], Awaitable[str]]:
    async def judge() -> str:
        return envelopes.judge(envelopes.message(noise))

    return judge


def _answers(noise: Noise) -> Callable[[], Awaitable[str]]:
    return Answers(noise).judge


def _lines(noise: Noise) -> Callable[[], Awaitable[str]]:
    async def judge() -> str:
        return judge_lines(noise)

    return judge


SORTS: Final[dict[str, Callable[[Noise], Callable[[], Awaitable[str]]]]] = {
    "envelopes": _envelopes,
    "answers": _answers,
    "lines": _lines,
}

if __name__ == "__main__":
    _what, _seed, _count = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(asyncio.run(fuzz(_what, int(_seed), int(_count))))))
