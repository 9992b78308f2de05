"""The store that the settings choose, embedded or Redis: nobody else needs to know which it is.

Redis's adapters are imported when they are chosen: the package for it is an extra of its own, and that it is there
is among the settings' checks.
"""

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from worker.ports import Archive, Clock, LaneBook, Listener, SpendBook, Store
from worker.settings import StoreSettings
from worker.store.embedded.archive import EmbeddedArchive
from worker.store.embedded.laneorders import OrderBook
from worker.store.embedded.options import Durability, EmbeddedOptions
from worker.store.embedded.spend import EmbeddedSpendBook
from worker.store.embedded.store import EmbeddedStore
from worker.store.files import ledger_file

if TYPE_CHECKING:
    from worker.store.redis.options import RedisOptions


def store(settings: StoreSettings, clock: Clock, listener: Listener) -> Store:
    """Give a worker's store, not yet open."""
    if settings.url is None:
        options = EmbeddedOptions(
            durability=Durability(settings.durability),
            result_ttl=settings.result_ttl,
            record_ttl=settings.record_ttl,
            cache_ttl=settings.cache_ttl,
            cache_bytes=settings.cache_max_size,
            cache_entry_bytes=settings.cache_max_entry,
        )
        return EmbeddedStore(
            ledger_file(settings.path), clock=clock, listener=listener, options=options
        )
    from worker.store.redis.store import RedisStore  # noqa: PLC0415  # an extra

    return RedisStore(redis_options(settings), clock=clock, listener=listener)


def archive(settings: StoreSettings) -> Archive:
    """Give what operators read of the ledger."""
    if settings.url is None:
        return EmbeddedArchive(ledger_file(settings.path))
    from worker.store.redis.archive import RedisArchive  # noqa: PLC0415  # an extra

    return RedisArchive(redis_options(settings))


def lane_book(settings: StoreSettings) -> LaneBook:
    """Give the operators' side of the lanes' orders."""
    if settings.url is None:
        return OrderBook(ledger_file(settings.path))
    from worker.store.redis.laneorders import RedisOrderBook  # noqa: PLC0415  # an extra

    return RedisOrderBook(redis_options(settings))


def spend_book(settings: StoreSettings) -> SpendBook:
    """Give the operators' side of the spend."""
    if settings.url is None:
        return EmbeddedSpendBook(ledger_file(settings.path))
    from worker.store.redis.spend import RedisSpendBook  # noqa: PLC0415  # an extra

    return RedisSpendBook(redis_options(settings))


def redis_options(settings: StoreSettings) -> "RedisOptions":
    """Give where the Redis is, with the user and the password that the settings keep apart.

    Raises:
        SettingsError: the password's file cannot be read by now.
    """
    from worker.store.redis.options import RedisOptions  # noqa: PLC0415  # an extra

    parts = urlsplit(settings.url or "")
    user, host = parts.username, parts.netloc.rpartition("@")[2]
    return RedisOptions(
        url=parts._replace(netloc=host).geturl(),
        username=None if user is None else unquote(user),
        password=None if settings.password is None else settings.password.reveal(),
        ca_file=settings.ca_file,
        prefix=settings.prefix,
        timeout=settings.timeout,
        result_ttl=settings.result_ttl,
        record_ttl=settings.record_ttl,
        cache_ttl=settings.cache_ttl,
        cache_bytes=settings.cache_max_size,
        cache_entry_bytes=settings.cache_max_entry,
    )


def place(settings: StoreSettings) -> str:
    """Give the store as it may be shown: its folder, or the address of the Redis without any secret."""
    if settings.url is None:
        return str(settings.path)
    parts = urlsplit(settings.url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
