"""Looks at the store, embedded or Redis, and has what is found judged. Nothing is changed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.cli.doctor import clock, host
from worker.cli.doctor.finding import REDIS, Finding, failed, ok
from worker.clock import SystemClock
from worker.errors import SettingsError, StoreUnavailable
from worker.settings import StoreSettings
from worker.store.files import ledger_file
from worker.stores import place, redis_options

_GROUP_OR_OTHERS: Final = 0o077
_CLOCK: Final = SystemClock()


def store_findings(settings: StoreSettings) -> Iterator[Finding]:
    """Look at the store that is configured."""
    if settings.url is None:
        yield from host.disk(_folder(settings.path), settings.cache_max_size)
    else:
        yield from _redis(settings)


def _redis(settings: StoreSettings) -> Iterator[Finding]:
    from worker.cli.doctor import redis  # noqa: PLC0415  # an extra, and chosen here
    from worker.store.redis.inspection import inspect  # noqa: PLC0415  # see above

    try:
        options = redis_options(settings)
        asked = _CLOCK.now()
        found = inspect(options)
        answered = _CLOCK.now()
    except (StoreUnavailable, SettingsError) as error:
        yield failed(REDIS, str(error), "start the Redis, or set store.url and store.password_file")
        return
    yield ok(REDIS, f"{place(settings)} answers, keys begin with {{{settings.prefix}}}")
    yield from redis.findings(found, cache_size=settings.cache_max_size)
    yield clock.clock("Redis", found.time, asked=asked, answered=answered)


def _folder(path: Path) -> host.Store:
    nearest = next(each for each in (path, *path.parents) if each.exists())
    files = [
        ledger_file(path).with_name(ledger_file(path).name + end) for end in ("", "-wal", "-shm")
    ]
    there = [each for each in files if each.exists()] if nearest == path else []
    return host.Store(
        path=path,
        nearest=nearest,
        writable=nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK),
        filesystem=host.filesystem_of(nearest.resolve(), host.text(Path("/proc/self/mounts"))),
        free=shutil.disk_usage(nearest).free,
        used=sum(each.stat().st_size for each in there),
        loose=tuple(each for each in there if each.stat().st_mode & _GROUP_OR_OTHERS),
    )
