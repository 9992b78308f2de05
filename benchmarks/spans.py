"""When the call of a job began and ended, from the simulator's log: by the hash of its body, whoever sent it."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import letters

Event = Mapping[str, Any]

# Bodies are sent on as they came, or written anew by a JSON library: spaced or not.
_SPACED: Final = ((", ", ": "), (",", ":"))


class Span(NamedTuple):
    """When a job's first call began and its last one ended, in seconds of the wall clock."""

    began: float
    ended: float


class CallLogs:
    """What the simulators log from now on; a number of a call is its process's own."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._from = {log: log.stat().st_size if log.exists() else 0 for log in logs}

    def read(self) -> list[list[Event]]:
        """Give the events, a list for each process."""
        found = []
        for log, offset in self._from.items():
            if log.exists():
                with log.open(encoding="utf-8") as lines:
                    lines.seek(offset)
                    found.append([json.loads(line) for line in lines if line.endswith("\n")])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """What a worker adds to its upstream's time, in ms, a value for each job: before its call, and after it."""

    there: Sequence[float]
    back: Sequence[float]

    @property
    def added(self) -> list[float]:
        """Both together."""
        return [there + back for there, back in zip(self.there, self.back, strict=True)]


def starts(logs: Iterable[Iterable[Event]]) -> list[float]:
    """Give when each call came."""
    return [line["at"] for log in logs for line in log if line["event"] == "start"]


def ends(logs: Iterable[Iterable[Event]]) -> list[float]:
    """Give when each call ended, the first one first."""
    return sorted(line["at"] for log in logs for line in log if line["event"] == "end")


def spans(logs: Iterable[Iterable[Event]], numbers: Iterable[str]) -> dict[str, Span]:
    """Give the span of each job with one of these numbers; one whose call has no end is left out."""
    by_hash = {digest: number for number in numbers for digest in digests(number)}
    found: dict[str, Span] = {}
    for log in logs:
        open_calls: dict[int, tuple[str, float]] = {}
        for line in log:
            if line["event"] == "start":
                if (number := by_hash.get(line["sha256"])) is not None:
                    open_calls[line["call"]] = number, line["at"]
            elif line["event"] == "end" and line["call"] in open_calls:
                number, began = open_calls.pop(line["call"])
                known = found.get(number, Span(began, line["at"]))
                found[number] = Span(min(known.began, began), max(known.ended, line["at"]))
    return found


def digests(number: str) -> list[str]:
    """Give the hashes that the body of a job may have at the upstream."""
    asked = letters.request(number)
    texts = (json.dumps(asked, separators=separators) for separators in _SPACED)
    return [sha256(text.encode()).hexdigest() for text in texts]


def delays(
    sent: Mapping[str, float], called: Mapping[str, Span], arrived: Mapping[str, float]
) -> Delays:
    """Give what was added to each job whose call is known: publish to call, and end of the call to reply.

    The simulator notes an end when it has written its answer, so a reply may seem to have come before: no time then.
    """
    known = [number for number in sent if number in called]
    return Delays(
        there=[1000 * max(called[each].began - sent[each], 0) for each in known],
        back=[1000 * max(arrived[each] - called[each].ended, 0) for each in known],
    )


class Slot(NamedTuple):
    """What a job met once a slot was free: for how long it still waited, in ms, and how many calls began before its own."""

    waited_ms: float
    passed_by: int


def after_a_slot(sent: float, span: Span, ended: Sequence[float], begun: Sequence[float]) -> Slot:
    """Give what a job met from the first end of a call after its publish, in `ended`; `begun` is when calls began, its own among them."""
    place = bisect_right(ended, sent)
    freed = ended[place] if place < len(ended) else span.began
    passed_by = bisect_left(begun, span.began) - bisect_right(begun, freed)
    return Slot(1000 * max(span.began - freed, 0), max(passed_by, 0))
