"""Which fault the next call gets: the request's own plan, the script, or chance.

The order: healed, then the `user` field (`sim:503,503`), then the first rule that matches, then
chaos, then `ok`. Every distinct body consumes its own copy of a plan, counted by its SHA-256.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.ask import Ask
from simulator.faults import OK, Fault, Plan, PlanError, parse_fault, parse_plan
from simulator.latency import share

USER_PREFIX: Final = "sim:"
_MATCHES: Final = frozenset({"contains", "model", "sha256"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A plan for the requests that match; every condition that is given must hold."""

    plan: Plan
    contains: str | None = None
    model: str | None = None
    sha256: str | None = None

    def matches(self, ask: Ask) -> bool:
        """Tell whether this rule is for the request."""
        return (
            (self.model is None or self.model == ask.model)
            and (self.sha256 is None or self.sha256 == ask.sha256)
            and (self.contains is None or _holds(ask.body, self.contains))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """Random faults by share of the calls. The k-th call of a body always draws the same fault."""

    shares: tuple[tuple[Fault, float], ...] = ()
    seed: int = 0

    def fault(self, sha256: str, index: int) -> Fault:
        """Draw for the call number `index` of the request with this hash."""
        left = share(self.seed, sha256, index)
        for fault, part in self.shares:
            if left < part:
                return fault
            left -= part
        return OK


class Script:
    """The plans in force and how far each request is in its own. Not shared between threads."""

    def __init__(self, *, rules: Sequence[Rule] = (), chaos: Chaos | None = None) -> None:
        self._rules = tuple(rules)
        self._chaos = chaos or Chaos()
        self._healed = False
        self._taken: dict[str, int] = {}

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Put a new script in force; every request starts at its first entry, `heal` is undone."""
        self._rules = tuple(rules)
        self._restart()

    def set_chaos(self, chaos: Chaos) -> None:
        """Put new random faults in force; draws start again, `heal` is undone."""
        self._chaos = chaos
        self._restart()

    def heal(self) -> None:
        """Make every call `ok` until a new script or new chaos is put in force."""
        self._healed = True

    def reset(self) -> None:
        """Forget what was consumed: every plan starts at its first entry. `heal` stays."""
        self._taken.clear()

    def take(self, ask: Ask) -> Fault:
        """Take the next fault of this request; raise PlanError if its `user` field has a bad plan."""
        if self._healed:
            return OK
        plan = self._plan(ask)
        if plan is None and not self._chaos.shares:
            return OK  # nothing to consume, so nothing to remember: memory stays flat
        index = self._taken.get(ask.sha256, 0)
        self._taken[ask.sha256] = index + 1
        return self._chaos.fault(ask.sha256, index) if plan is None else plan.at(index)

    def _plan(self, ask: Ask) -> Plan | None:
        if ask.user is not None and ask.user.startswith(USER_PREFIX):
            return parse_plan(ask.user.removeprefix(USER_PREFIX))
        return next((rule.plan for rule in self._rules if rule.matches(ask)), None)

    def _restart(self) -> None:
        self._healed = False
        self._taken.clear()


def rule(
    plan: str,
    *,
    contains: str | None = None,
    model: str | None = None,
    sha256: str | None = None,
) -> Rule:
    """Make a rule from a plan's text; without conditions it is for every request. Raise PlanError."""
    return Rule(plan=parse_plan(plan), contains=contains, model=model, sha256=sha256)


def parse_rules(document: object) -> tuple[Rule, ...]:
    """Read a script: `[{"match": {"model": "gpt-x"}, "plan": "503,503"}, …]`; raise PlanError."""
    if not isinstance(document, list):
        raise PlanError("a script is a JSON list of rules")
    return tuple(_parse_rule(number, entry) for number, entry in enumerate(document))


def parse_chaos(document: object) -> Chaos:
    """Read `{"503": 0.3, "429(retry-after=1)": 0.2, "seed": 7}`; raise PlanError."""
    if not isinstance(document, dict):
        raise PlanError("chaos is a JSON object of faults and their shares")
    shares: list[tuple[Fault, float]] = []
    for text, part in document.items():
        if text == "seed":
            continue
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part <= 1:
            raise PlanError(f"chaos: the share of {text!r} is not a number from 0 to 1")
        shares.append((parse_fault(text), float(part)))
    if sum(part for _, part in shares) > 1 + 1e-9:
        raise PlanError("chaos: the shares add up to more than 1")
    seed = document.get("seed", 0)
    if not isinstance(seed, int):
        raise PlanError("chaos: the seed is not a whole number")
    return Chaos(shares=tuple(shares), seed=seed)


def _parse_rule(number: int, entry: object) -> Rule:
    if not isinstance(entry, dict) or entry.keys() - {"match", "plan"}:
        raise PlanError(f'rule {number}: expected {{"match": {{…}}, "plan": "…"}}')
    plan, match = entry.get("plan"), entry.get("match", {})
    if not isinstance(plan, str):
        raise PlanError(f"rule {number}: its plan is not a text")
    if not isinstance(match, Mapping) or match.keys() - _MATCHES:
        raise PlanError(f"rule {number}: match takes {', '.join(sorted(_MATCHES))}")
    if not all(isinstance(value, str) for value in match.values()):
        raise PlanError(f"rule {number}: a condition of match is not a text")
    return rule(plan, **match)


def _holds(body: bytes, text: str) -> bool:
    # A JSON writer may send the text as it is or with escapes; both are "in the body".
    return text.encode() in body or json.dumps(text)[1:-1].encode() in body
