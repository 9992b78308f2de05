"""What jobs at one rate, or of high priority, had to wait for: pure figures of when they were sent, called and replied to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from benchmarks.figures import SHARES, percentile
from benchmarks.spans import Span, after_a_slot, delays

URGENT: Final = "high priority"
# It is a number of calls and not a time.
_PASSED: Final = "passed_by"
# What is measured and its column: publish to reply, publish to call, a free slot to call, calls that begin in between,
# end of call to reply, both ways added.
WAYS: Final = {
    "latency": "reply",
    "there": "call",
    "slot": "slot",
    _PASSED: "calls in between",
    "back": "back",
    "added": "added",
}
_TOLD: Final = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Load:
    """Jobs by their numbers: when each was sent, its call's span, when its reply arrived; wall clock, seconds.

    `freed` is when any calls ended and `begun` when they began, where jobs are urgent: they wait for a slot.
    """

    name: str
    sent: Mapping[str, float]
    called: Mapping[str, Span]
    arrived: Mapping[str, float]
    freed: Sequence[float] = ()
    begun: Sequence[float] = ()

    @cached_property
    def _values(self) -> Mapping[str, Sequence[float]]:
        found = delays(self.sent, self.called, self.arrived)
        slots = [
            after_a_slot(at, self.called[each], self.freed, self.begun)
            for each, at in self.sent.items()
            if self.freed and each in self.called
        ]
        return {
            "latency": [1000 * (self.arrived[each] - at) for each, at in self.sent.items()],
            "there": found.there,
            "slot": [slot.waited_ms for slot in slots],
            _PASSED: [slot.passed_by for slot in slots],
            "back": found.back,
            "added": found.added,
        }

    def quantile(self, way: str, share: float) -> float:
        """Give the time that `share` of the jobs did not exceed, in ms."""
        return percentile(self._values[way], share)

    def figures(self) -> dict[str, float]:
        """Give p50 and p99 by names such as "added_p99_ms_at_50%"; what nothing is known of is left out."""
        return {
            key_of(way, told, self.name): self.quantile(way, share)
            for way, values in self._values.items()
            if values
            for told, share in _TOLD.items()
        }

    def curve(self) -> list[float]:
        """Give what was added, or where no call is known the latency, in ms at each of `SHARES`."""
        values = self._values["added"] or self._values["latency"]
        return [percentile(values, share) for share in SHARES]


def key_of(way: str, told: str, load: str) -> str:
    """Give the name of a figure in a contestant's object."""
    unit = "" if way == _PASSED else "_ms"
    return f"{way}_{told}{unit}_at_{load}"
