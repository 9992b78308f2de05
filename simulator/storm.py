"""A storm: faults that come over every call, whatever was planned for it, and end by themselves. Pure."""

from dataclasses import dataclass, field

from simulator.faults import OK, Fault, PlanError
from simulator.script import Chaos, parse_chaos

_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Chaos until an instant of the monotonic clock. It comes before limits and plans, and uses up neither."""

    chaos: Chaos = field(default_factory=Chaos)
    until_ns: int = 0

    def fault(self, sha256: str, call: int, now_ns: int) -> Fault:
        """Draw for call number `call`; `ok` once the storm is over."""
        return self.chaos.fault(sha256, call) if now_ns < self.until_ns else OK


def parse_storm(document: object, *, now_ns: int) -> Storm:
    """Read `{"503": 1, "for_s": 60}`, of which `for_s` is how many seconds it lasts; raise PlanError."""
    if not isinstance(document, dict):
        raise PlanError('a storm is a JSON object such as {"503": 1, "for_s": 60}')
    shares = dict(document)
    for_s = shares.pop("for_s", None)
    number = isinstance(for_s, int | float) and not isinstance(for_s, bool)
    if not number or not 0 <= for_s < float("inf"):
        raise PlanError("a storm: for_s is how many seconds it lasts")
    return Storm(chaos=parse_chaos(shares), until_ns=now_ns + round(for_s * _SECOND_NS))
