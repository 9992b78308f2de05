"""How a connection to a Redis is made: address, credentials, TLS, time-outs."""

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.store.redis.options import RedisOptions


def pool(options: RedisOptions) -> ConnectionPool:
    """Give what makes connections; who uses one bounds its waits, and repeats what may be repeated."""
    made: ConnectionPool = ConnectionPool.from_url(
        options.url, **_keywords(options), socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
    )
    return made


def client(options: RedisOptions) -> redis.Redis:
    """Give a client that blocks, for the operators' questions."""
    made: redis.Redis = redis.Redis.from_url(
        options.url,
        **_keywords(options),
        socket_timeout=options.timeout.total_seconds(),
        retry=Retry(NoBackoff(), 0),
    )
    made.response_callbacks.clear()  # answers as they come, the same as those of `pool`
    return made


def where(url: str) -> str:
    """Give the server's address as an error may show it: whatever stands before the host stays out."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _keywords(options: RedisOptions) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "protocol": 2,
        "client_name": "warren",
        "driver_info": None,  # two more commands for each connection, and a search through all packages
        "socket_connect_timeout": options.timeout.total_seconds(),
        "socket_keepalive": True,
    }
    if options.username is not None:
        keywords["username"] = options.username
    if options.password is not None:
        keywords["password"] = options.password
    if options.ca_file is not None:
        keywords["ssl_ca_certs"] = str(options.ca_file)
    return keywords
