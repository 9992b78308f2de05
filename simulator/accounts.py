"""The limits of every key, and how the simulator tells of them: headers, and the 429. Pure.

Modelled on OpenAI (https://platform.openai.com/docs/guides/rate-limits, and error texts as clients report them):

* A call is charged when it comes: one request, and as tokens the larger of what its prompt is estimated at (characters
  divided by four) and of what it asks for (`max_completion_tokens` or `max_tokens`, times `n`).
* When it has been answered, its usage counts instead, more or less, from the instant that it came. A call that is
  answered without usage, by an error or not at all, stays charged as it came.
* The headers `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` are on every answer; `reset` is the time until
  nothing counts any more, written as Go writes durations.
* A refused call gets a 429 with `rate_limit_exceeded`, Retry-After in whole seconds and retry-after-ms. One that is larger
  than the limit itself gets a 429 that names no time.

Otherwise than at OpenAI a refused call is charged nothing, or a client that asks again and again would never get in.
"""

import hashlib
from typing import Final

from simulator import answers
from simulator.ask import Ask
from simulator.quota import LimitError, Limits, Quota, Refused, Standing, Taken
from simulator.reactions import Reaction, reply
from simulator.wire import Headers

_MS: Final = 10**6
_SECOND_MS: Final = 1000
_NAMES: Final = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}
_KNOWN: Final = frozenset({"requests", "tokens"})
_DOCUMENT: Final = 'expected {"requests": N, "tokens": N}; leave out what is not limited'


class Accounts:
    """The quota of each key. With nothing limited it counts nothing, and remembers no key."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._quotas: dict[str, Quota] = {}

    def limit(self, limits: Limits) -> None:
        """Put limits in force; what was used in the last minute counts, as far as it was counted."""
        self.limits = limits
        if not limits.any:
            self._quotas.clear()

    def take(self, authorization: str, ask: Ask, now_ns: int) -> Taken | Refused | None:
        """Charge a call to its key, or refuse it; None: nothing is limited."""
        if not self.limits.any:
            return None
        quota = self._quotas.setdefault(_name(authorization), Quota())
        return quota.take(self.limits, answers.tokens_asked(ask), now_ns)

    def settle(self, authorization: str, taken: Taken, tokens: int, now_ns: int) -> None:
        """Charge what an answered call really used; nothing, if its key was forgotten meanwhile."""
        quota = self._quotas.get(_name(authorization))
        if quota is not None:
            quota.settle(taken, tokens, now_ns)

    def start_again(self) -> None:
        """Let every count start at zero; what was used in the last minute still counts."""
        for quota in self._quotas.values():
            quota.start_again()

    def snapshot(self, now_ns: int) -> dict[str, object]:
        """Give each key's counts, under a name that does not tell the key."""
        return {
            name: quota.snapshot(self.limits, now_ns)
            for name, quota in sorted(self._quotas.items())
        }


def parse_limits(document: object) -> Limits:
    """Read `{"requests": 600, "tokens": 20000}`; raise LimitError."""
    if not isinstance(document, dict) or document.keys() - _KNOWN:
        raise LimitError(f"limits: {_DOCUMENT}")
    return Limits(**document)


def headers(standings: tuple[Standing, ...]) -> Headers:
    """Give the headers that tell how limits stand."""
    return tuple(
        (f"x-ratelimit-{name}-{each.what}", value)
        for each in standings
        for name, value in (
            ("limit", str(each.limit)),
            ("remaining", str(each.left)),
            ("reset", duration(each.empty_in_ns)),
        )
    )


def refusal(refused: Refused, model: str | None) -> Reaction:
    """Give the 429 of a call that was kept out."""
    where = f"for {model or 'this model'} in organization org-simulated on {_NAMES[refused.what]}"
    hints: Headers = ()
    if refused.wait_ns is None:
        message = (
            f"Request too large {where}: Limit {refused.limit}, Requested {refused.asked}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
    else:
        message = (
            f"Rate limit reached {where}: Limit {refused.limit}, Used {refused.used}, "
            f"Requested {refused.asked}. Please try again in {duration(refused.wait_ns)}."
        )
        ms = _up(refused.wait_ns, _MS)
        hints = (("retry-after", str(_up(ms, _SECOND_MS))), ("retry-after-ms", str(ms)))
    content = answers.error(message, kind=refused.what, code="rate_limit_exceeded")
    return reply(429, content).with_headers((*headers(refused.standings), *hints))


def duration(ns: int) -> str:
    """Write a duration of up to an hour as Go does, in milliseconds rounded up: `17ms`, `8.64s`, `1m0s`."""
    ms = _up(ns, _MS)
    if 0 < ms < _SECOND_MS:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60 * _SECOND_MS)
    seconds = f"{ms / _SECOND_MS:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


def _up(number: int, unit: int) -> int:
    return -(-number // unit)


def _name(authorization: str) -> str:
    """Name a key without telling it."""
    if not authorization:
        return "none"
    return f"key-{hashlib.sha256(authorization.encode()).hexdigest()[:8]}"
