"""The SDK's only reader of wall time."""

from datetime import UTC, datetime


def now() -> datetime:
    """Give the current instant, aware, in UTC."""
    return datetime.now(UTC)
