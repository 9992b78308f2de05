"""Times as the stores keep them: whole microseconds, so that what is read equals what was written."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Give an aware instant as microseconds since the epoch."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """Give the aware instant of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=value)


def span_us(span: timedelta) -> int:
    """Give a duration in microseconds."""
    return span // _MICROSECOND


def us_span(value: int) -> timedelta:
    """Give the duration of so many microseconds."""
    return timedelta(microseconds=value)
