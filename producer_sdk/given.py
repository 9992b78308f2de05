"""Durations and counts as callers give them: whoever passes something else hears its name and the rule."""

import math
from datetime import timedelta

from producer_sdk.errors import InvalidRequest, InvalidSetting

_MOST_S = 10 * 365 * 86_400  # beyond it event loops overflow


def timeout_s(value: object) -> float:
    """Give the seconds of a `timeout`, a number or a timedelta.

    Raises:
        InvalidRequest: it is neither, negative, not finite, or longer than ten years.
    """
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= _MOST_S:
        raise InvalidRequest(
            "timeout: must be a timedelta or a number of seconds, between 0 and ten years"
        )
    return seconds


def check_count(name: str, value: object, *, most: int) -> None:
    """Check a count.

    Raises:
        InvalidSetting: it is no whole number between 1 and `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidSetting(f"{name}: must be a whole number between 1 and {most:,}")


def check_duration(name: str, value: object) -> None:
    """Check one of the client's own durations.

    Raises:
        InvalidSetting: it is no timedelta, not more than zero, or longer than ten years.
    """
    if not isinstance(value, timedelta) or not 0 < value.total_seconds() <= _MOST_S:
        raise InvalidSetting(
            f"{name}: must be a timedelta of more than zero and at most ten years, such as timedelta(seconds=10)"
        )


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value
