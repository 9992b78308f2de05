"""How long an answer takes: fixed, uniform or lognormal, by model. Pure.

Chance is an argument: a distribution maps a share between 0 and 1 to seconds, and the share is
hashed from the seed and the call's number, so that one seed always gives the same series.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist
from typing import Final

_STANDARD: Final = NormalDist()
_ARGUMENTS: Final = {"fixed": 1, "uniform": 2, "lognormal": 2}


class LatencyError(ValueError):
    """A latency cannot be understood; the text says which and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """`fixed(s)`, `uniform(low, high)` or `lognormal(median, sigma)`; seconds."""

    kind: str
    first: float
    second: float = 0.0

    def at(self, share: float) -> float:
        """Give the seconds below which this share of all calls lies (the quantile function)."""
        if self.kind == "lognormal":
            return self.first * math.exp(self.second * _STANDARD.inv_cdf(share))
        if self.kind == "uniform":
            return self.first + (self.second - self.first) * share
        return self.first


AT_ONCE: Final = Distribution(kind="fixed", first=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """One distribution by default, others by prefix of the model's name; the longest prefix wins."""

    default: Distribution = AT_ONCE
    by_prefix: tuple[tuple[str, Distribution], ...] = ()
    seed: int = 0

    def seconds(self, model: str | None, call: int) -> float:
        """Give how long call number `call` of this model waits for its answer."""
        found = self.default
        longest = -1
        for prefix, distribution in self.by_prefix:
            if len(prefix) > longest and (model or "").startswith(prefix):
                found, longest = distribution, len(prefix)
        # A fixed latency needs no draw, and it is the hot path of benchmarks.
        return found.first if found.kind == "fixed" else found.at(share(self.seed, "latency", call))


def share(seed: int, *names: object) -> float:
    """Give a number strictly between 0 and 1 that depends on nothing but its arguments."""
    digest = blake2b(repr((seed, *names)).encode(), digest_size=8).digest()
    # 52 bits, so that adding a half stays exact and neither 0 nor 1 can come out.
    return ((int.from_bytes(digest) >> 12) + 0.5) / (1 << 52)


def parse_distribution(text: str) -> Distribution:
    """Read `fixed(0.05)`, `uniform(0.1,0.4)` or `lognormal(0.8,0.5)`; raise LatencyError."""
    kind, _, rest = text.strip().partition("(")
    try:
        numbers = [float(part) for part in rest.removesuffix(")").split(",")]
    except ValueError:
        numbers = []
    valid = all(0 <= number < math.inf for number in numbers)
    if not (rest.endswith(")") and valid and len(numbers) == _ARGUMENTS.get(kind)):
        raise LatencyError(
            f"latency {text!r}: expected fixed(s), uniform(low,high) or lognormal(median,sigma)"
        )
    if kind == "uniform" and numbers[0] > numbers[1]:
        raise LatencyError(f"latency {text!r}: the low end is above the high end")
    return Distribution(kind=kind, first=numbers[0], second=numbers[-1])


def parse_latencies(table: Mapping[str, object]) -> Latencies:
    """Read `{"default": "fixed(0.05)", "gpt-": "uniform(0.1,0.4)", "seed": 7}`; raise LatencyError."""
    seed = table.get("seed", 0)
    if not isinstance(seed, int):
        raise LatencyError(f"latency seed {seed!r}: expected a whole number")
    parsed: dict[str, Distribution] = {}
    for name, text in table.items():
        if name == "seed":
            continue
        if not isinstance(text, str):
            raise LatencyError(f"latency of {name!r}: expected text such as fixed(0.05)")
        parsed[name] = parse_distribution(text)
    default = parsed.pop("default", AT_ONCE)
    return Latencies(default=default, by_prefix=tuple(parsed.items()), seed=seed)
