"""What an upstream's Retry-After says: headers in, a bounded duration out."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = timedelta(hours=1)
"""No hint says more than this, so that no upstream can park a job for good; policies cap further."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?", re.ASCII)
_LONGEST_TEXT: Final = 64


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
