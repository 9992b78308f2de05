"""How much one key may use in a minute, and what it has used: an exact sliding window. Pure.

At an instant, what was charged in the 60 s before it counts, and nothing else. Instants are whole nanoseconds,
so that no rounding lets a call in too early or keeps one out too late.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

What = Literal["requests", "tokens"]
MINUTE_NS: Final = 60 * 10**9


class LimitError(ValueError):
    """A limit cannot be understood; the text says which and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What each key may use in any minute; None: as much as it likes."""

    requests: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests", "tokens"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if value is not None and not whole:
                raise LimitError(f"limit of {name} {value!r}: expected a whole number above 0")

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self.requests is not None or self.tokens is not None


@dataclass(slots=True)
class Charge:
    """An amount that counts from `at_ns` on for a minute."""

    at_ns: int
    amount: int
    aged: bool = False


class Window:
    """What was charged in the last minute. `most` is the largest sum that any minute had."""

    __slots__ = ("_charges", "_sum", "most")

    def __init__(self) -> None:
        self._charges = deque[Charge]()
        self._sum = 0
        self.most = 0

    def used(self, now_ns: int) -> int:
        """Give the sum of what counts now. `now_ns` must never go back."""
        while self._charges and self._charges[0].at_ns <= now_ns - MINUTE_NS:
            charge = self._charges.popleft()
            charge.aged = True
            self._sum -= charge.amount
        return self._sum

    def charge(self, amount: int, now_ns: int) -> Charge:
        """Count an amount from now on."""
        self.used(now_ns)
        made = Charge(now_ns, amount)
        self._charges.append(made)
        self._add(amount)
        return made

    def settle(self, charge: Charge, amount: int, now_ns: int) -> None:
        """Let a charge be another amount; once it is older than a minute, it counts no more anyway."""
        self.used(now_ns)
        if not charge.aged:
            self._add(amount - charge.amount)
        charge.amount = amount

    def fits_in_ns(self, amount: int, limit: int, now_ns: int) -> int | None:
        """Tell how long until an amount fits beside what counts by then; None: it is above the limit itself."""
        if amount > limit:
            return None
        over = self.used(now_ns) + amount - limit
        for charge in self._charges:
            if over <= 0:
                break
            over -= charge.amount
            wait_ns = charge.at_ns + MINUTE_NS - now_ns
            if over <= 0:
                return wait_ns
        return 0

    def empty_in_ns(self, now_ns: int) -> int:
        """Tell how long until nothing counts, if nothing is added."""
        self.used(now_ns)
        return self._charges[-1].at_ns + MINUTE_NS - now_ns if self._charges else 0

    def start_again(self) -> None:
        """Let `most` begin with what counts now."""
        self.most = self._sum

    def _add(self, amount: int) -> None:
        self._sum += amount
        self.most = max(self.most, self._sum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one limit stands after a call, as its headers tell."""

    what: What
    limit: int
    left: int
    empty_in_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An accepted call: what was charged, and how the limits stand since."""

    tokens: Charge
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call beyond a limit. `wait_ns` None: it is larger than the limit, and no wait helps."""

    what: What
    limit: int
    used: int
    asked: int
    wait_ns: int | None
    standings: tuple[Standing, ...]


class Quota:
    """One key's use. Refused calls are counted, and charged nothing."""

    def __init__(self) -> None:
        self._windows: Mapping[What, Window] = {"requests": Window(), "tokens": Window()}
        self.accepted = 0
        self.refused: Counter[What] = Counter()

    def take(self, limits: Limits, tokens: int, now_ns: int) -> Taken | Refused:
        """Charge one request and its tokens, or say which limit keeps it out longest."""
        asked: Mapping[What, int] = {"requests": 1, "tokens": tokens}
        waits = {
            what: (limit, self._windows[what].fits_in_ns(asked[what], limit, now_ns))
            for what, limit in _each(limits)
        }
        kept_out = {what: told for what, told in waits.items() if told[1] != 0}
        if not kept_out:
            self.accepted += 1
            self._windows["requests"].charge(1, now_ns)
            charge = self._windows["tokens"].charge(tokens, now_ns)
            return Taken(tokens=charge, standings=self.standings(limits, now_ns))
        what = max(kept_out, key=lambda each: _longest_last(kept_out[each][1]))
        self.refused[what] += 1
        limit, wait_ns = kept_out[what]
        return Refused(
            what=what,
            limit=limit,
            used=self._windows[what].used(now_ns),
            asked=asked[what],
            wait_ns=wait_ns,
            standings=self.standings(limits, now_ns),
        )

    def settle(self, taken: Taken, tokens: int, now_ns: int) -> None:
        """Charge what a call really used instead of what was charged when it came."""
        self._windows["tokens"].settle(taken.tokens, tokens, now_ns)

    def standings(self, limits: Limits, now_ns: int) -> tuple[Standing, ...]:
        """Tell how each limit that there is stands."""
        return tuple(
            Standing(
                what=what,
                limit=limit,
                left=max(0, limit - self._windows[what].used(now_ns)),
                empty_in_ns=self._windows[what].empty_in_ns(now_ns),
            )
            for what, limit in _each(limits)
        )

    def start_again(self) -> None:
        """Let the counts start at zero; what was used in the last minute still counts against the limits."""
        self.accepted = 0
        self.refused.clear()
        for window in self._windows.values():
            window.start_again()

    def snapshot(self, limits: Limits, now_ns: int) -> dict[str, object]:
        """Give counts and limits as JSON-ready values."""
        return {
            "accepted": self.accepted,
            "refused": {what: self.refused[what] for what in self._windows},
            "most_in_a_minute": {what: window.most for what, window in self._windows.items()},
            "limits": {
                each.what: {"limit": each.limit, "left": each.left}
                for each in self.standings(limits, now_ns)
            },
        }


def _each(limits: Limits) -> Iterator[tuple[What, int]]:
    if limits.requests is not None:
        yield "requests", limits.requests
    if limits.tokens is not None:
        yield "tokens", limits.tokens


def _longest_last(wait_ns: int | None) -> float:
    return float("inf") if wait_ns is None else wait_ns
