"""How long a job may take at the longest, and what must therefore be longer."""

from collections.abc import Iterator
from datetime import timedelta

from worker.settings.calling import RetrySettings, TierSettings
from worker.settings.finding import Finding
from worker.settings.schema import Settings
from worker.settings.values import format_duration


def retry_horizon(tier: TierSettings, retry: RetrySettings) -> timedelta:
    """Give the longest time from a job's first delivery to its terminal record.

    That is all attempts at full length with the waits between them, or the latest deadline: whichever is
    longer. Refusals need no term of their own: only the deadline bounds how long their waits take.
    """
    backoffs = retry.attempt_backoffs
    waits = sum(
        (backoffs[min(n, len(backoffs) - 1)] for n in range(retry.max_attempts - 1)), timedelta()
    )
    attempts = tier.attempt_timeout * retry.max_attempts + waits
    return max(attempts, tier.max_deadline)


def consumer_timeout(settings: Settings) -> Iterator[Finding]:
    """Find attempts that may hold a delivery longer than the broker lets them."""
    limit = settings.broker.consumer_timeout
    for name, tier in settings.tiers.items():
        if tier.attempt_timeout >= limit:
            yield Finding(
                about=(f"tiers.{name}.attempt_timeout", "broker.consumer_timeout"),
                text=f"tiers.{name}.attempt_timeout = {format_duration(tier.attempt_timeout)} is too"
                " long: an attempt holds its delivery, and the broker takes that back after"
                f" broker.consumer_timeout = {format_duration(limit)}",
            )


def record_ttl(settings: Settings) -> Iterator[Finding]:
    """Find records that would be forgotten while their job may still come again."""
    store, retry = settings.store, settings.retry
    for name, tier in settings.tiers.items():
        horizon = retry_horizon(tier, retry)
        if store.record_ttl < horizon + store.replay_window:
            yield Finding(
                about=(
                    "store.record_ttl",
                    "store.replay_window",
                    "retry.max_attempts",
                    "retry.attempt_backoffs",
                    f"tiers.{name}.attempt_timeout",
                    f"tiers.{name}.max_deadline",
                ),
                text=f"store.record_ttl = {format_duration(store.record_ttl)} is too short: tier"
                f' "{name}" needs {format_duration(horizon + store.replay_window)}, its longest'
                f" retry horizon of {format_duration(horizon)} (all attempts, or max_deadline) and"
                f" store.replay_window = {format_duration(store.replay_window)}; a shorter record"
                " would allow a second call for a job that has ended",
            )
