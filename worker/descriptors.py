"""How many files a worker may have open: over HTTP/1.1 each call in flight is a connection, and so an open file."""

import resource
import sys
from contextlib import suppress
from typing import Final

from worker.settings import Settings

# Connections to the broker, the store's files, the probes' server and a reserve.
_SPARE: Final = 64


def needed(settings: Settings) -> int:
    """Give how many files a worker has open at most, with a connection for each of its jobs."""
    return jobs_at_once(settings) + _SPARE


def jobs_at_once(settings: Settings) -> int:
    """Give how many jobs a worker works on at most."""
    return sum(tier.concurrency + tier.bulk_concurrency for tier in settings.tiers.values())


def allowed() -> int:
    """Give how many files a worker may have open, once it has raised its own limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def raise_limit() -> None:
    """Raise this process's own limit to the most that it may give itself; a system that refuses leaves it as it is.

    The lower one, often 1,024, is for programs that call select(2); nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS refuses "no limit", which it gives itself
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def shortage(settings: Settings) -> str | None:
    """Tell what is wrong where fewer files may be open than are needed; None: nothing."""
    most, wanted = allowed(), needed(settings)
    if most >= wanted:
        return None
    return (
        f"{most} files may be open, {jobs_at_once(settings)} jobs at once need about {wanted} over HTTP/1.1:"
        f" ulimit -n {2 * wanted} (systemd: LimitNOFILE={2 * wanted}), or less concurrency"
    )
