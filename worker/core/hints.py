"""What an upstream's headers say of its limits: when to come again, how much is allowed, how much is left.

Headers in, bounded values out. What cannot be read counts as not said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = timedelta(hours=1)
"""No hint says more than this, so that no upstream can park a job for good; policies cap further."""

LONGEST_RESET: Final = timedelta(days=1)
"""The longest window of a limit that is told: Groq and OpenAI's lowest tiers count requests by the day."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?", re.ASCII)
_LONGEST_TEXT: Final = 64
_COUNT: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_GO_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:h|ms|m|s|us|µs|ns))+", re.ASCII)
_GO_PART: Final = re.compile(r"([0-9.]+)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

# Names of limit, what is left of it, and its reset; the first family that says something stands.
# * OpenAI: resets are Go durations, such as `1s` and `6m0s` (https://platform.openai.com/docs/guides/rate-limits); Azure
#   sends the same names with seconds, and -1 for what it does not know; Groq counts its requests by the day
#   (https://console.groq.com/docs/rate-limits).
# * Mistral and Cerebras name the window; Mistral's older names are `ratelimitbysize`. Cerebras' `-day` is not read.
# * Anthropic: resets are RFC 3339 instants (https://docs.anthropic.com/en/api/rate-limits).
# DeepSeek, Gemini and vLLM tell nothing.
_Names = tuple[str, str, str]
_REQUESTS: Final[tuple[_Names, ...]] = (
    (
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    (
        "x-ratelimit-limit-req-minute",
        "x-ratelimit-remaining-req-minute",
        "x-ratelimit-reset-req-minute",
    ),
    (
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
)
_TOKENS: Final[tuple[_Names, ...]] = (
    ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    (
        "x-ratelimit-limit-tokens-minute",
        "x-ratelimit-remaining-tokens-minute",
        "x-ratelimit-reset-tokens-minute",
    ),
    (
        "x-ratelimitbysize-limit-minute",
        "x-ratelimitbysize-remaining-minute",
        "x-ratelimitbysize-reset-minute",
    ),
    (
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    (
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
)
_BEGINNINGS: Final = ("x-ratelimit", "anthropic-ratelimit-")
"""What all these names begin with, so that one look at each header of an answer tells whether it says anything."""
_TWO_MINUTES: Final = timedelta(minutes=2)


def delay(text: object) -> timedelta | None:
    """Give a delay that stands in an error's body as a Go duration or Google's, such as `45.5s`; at most `LONGEST`."""
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not _GO_DURATION.fullmatch(text):
        return None
    seconds = _go_duration_s(text)
    return None if seconds is None else _bounded(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said of one limit; each None: not said. `resets_after` is when the whole limit is there again."""

    limit: int | None = None
    remaining: int | None = None
    resets_after: timedelta | None = None

    @property
    def per_minute(self) -> int | None:
        """The limit, if it may be one by the minute; None: not said, or it is another's.

        The names do not tell the window. What takes longer than two minutes to be there again is counted by the
        hour or the day; a part of such a limit that comes back sooner cannot be told from a minute's.
        """
        slow = self.resets_after is not None and self.resets_after > _TWO_MINUTES
        return None if slow else self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsTold:
    """What an answer said of the limits on requests and on tokens; None: nothing."""

    requests: Told | None = None
    tokens: Told | None = None


NOTHING_TOLD: Final = LimitsTold()


def limits_told(headers: Mapping[str, str], *, now: datetime) -> LimitsTold:
    """Give what the headers say of limits. `headers` has lower-case names; `now` is aware."""
    for name in headers:
        if name.startswith(_BEGINNINGS):
            return LimitsTold(
                requests=_told(headers, _REQUESTS, now),
                tokens=_told(headers, _TOKENS, now),
            )
    return NOTHING_TOLD


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """Give how long the upstream asks to be left alone, from `now`; None: it does not say.

    `retry-after-ms` goes first (OpenAI sends both, and it is the finer one), then `retry-after` in
    seconds or as an HTTP date (RFC 9110, 10.2.3). What lies in the past is zero, what is absurd is
    `LONGEST`, and what cannot be read counts as not said. `headers` has lower-case names or does not
    care about case; `now` is aware.
    """
    in_ms = _number(headers.get("retry-after-ms"))
    if in_ms is not None:
        return _bounded(in_ms / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None:
        seconds = _until(text, now)
    return None if seconds is None else _bounded(seconds)


def _told(headers: Mapping[str, str], families: Sequence[_Names], now: datetime) -> Told | None:
    for limit, remaining, reset in families:
        allowed, left = _count(headers.get(limit)), _count(headers.get(remaining))
        if allowed is None and left is None:
            continue  # a reset alone tells nothing that could be used
        return Told(
            limit=allowed or None,  # 0 is no limit that one could keep to
            remaining=left if left is None or allowed is None else min(left, allowed),
            resets_after=_reset(headers.get(reset), now),
        )
    return None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def _reset(text: str | None, now: datetime) -> timedelta | None:
    """Read a Go duration, plain seconds or an RFC 3339 instant."""
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    seconds = _number(text)
    if seconds is None and _GO_DURATION.fullmatch(text):
        seconds = _go_duration_s(text)
    if seconds is None:
        seconds = _until_instant(text, now)
    # More than any window is no duration: an instant as a number, or nonsense.
    longest_s = LONGEST_RESET.total_seconds()
    return None if seconds is None or seconds > longest_s else timedelta(seconds=max(seconds, 0.0))


def _go_duration_s(text: str) -> float | None:
    try:
        return sum(float(number) * _UNITS_S[unit] for number, unit in _GO_PART.findall(text))
    except ValueError:  # a number with two points
        return None


def _until_instant(text: str, now: datetime) -> float | None:
    try:
        then = datetime.fromisoformat(text)
        return None if then.tzinfo is None else (then - now).total_seconds()
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    """Read a plain decimal; `float` alone would also take `nan`, `1_000` and digits of any script."""
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(text: str | None, now: datetime) -> float | None:
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    try:
        then = parsedate_to_datetime(text)
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)  # the asctime form names no zone: HTTP means GMT
        return (then - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None  # the standard library's parser raises any of these on garbage


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST.total_seconds()))
