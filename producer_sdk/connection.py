"""Connections to the broker, and what its refusals mean."""

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from ssl import SSLContext
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from aio_pika import RobustConnection
from aio_pika.connection import make_url
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
from pamqp.exceptions import PAMQPException
from yarl import URL

from producer_sdk.errors import (
    AccessRefused,
    BrokerUnavailable,
    InvalidSetting,
    TopologyMissing,
)
from producer_sdk.hosts import one_each
from producer_sdk.tolerance import TolerantTransport

# What a lost connection, or one that cannot be made, looks like. RuntimeError as a whole is not in it: the
# library raises it for closed channels, as the subclass named here, but bugs are RuntimeErrors too.
LOST: Final = (AMQPError, OSError, ChannelInvalidStateError, PAMQPException)

RECONNECT_INTERVAL_S: Final = 1
_NO_URL: Final = "url: must look like amqps://USER:PASSWORD@HOST/VHOST; the user is the tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and as whom to connect; the URLs, one for each node, hold the password and are never shown."""

    urls: tuple[str, ...] = field(repr=False)
    tenant: str
    where: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an AMQP URL; its user name is the tenant, and it may name several hosts.

        Raises:
            InvalidSetting: it is no `amqp://` or `amqps://` URL with a user name.
        """
        try:
            parts, urls = urlsplit(url), one_each(url)
            nodes = [urlsplit(each) for each in urls]
            hosts = [(node.hostname, node.port) for node in nodes]
        except (AttributeError, TypeError, ValueError):  # the first two: it is no string at all
            raise InvalidSetting(_NO_URL) from None
        named = all(host for host, _ in hosts)
        if not named or parts.scheme not in {"amqp", "amqps"} or not parts.username:
            raise InvalidSetting(_NO_URL)
        usual = 5671 if parts.scheme == "amqps" else 5672
        where = ", ".join(f"{host}:{port or usual}" for host, port in hosts)
        vhost = unquote(parts.path[1:]) or "/"
        return cls(
            urls=urls,
            tenant=unquote(parts.username),
            where=f"{where}, virtual host {vhost!r}",
        )


class _Roaming(RobustConnection):
    """Makes each connection to the next of the nodes: the one that it had may be dead.

    The library reads `url` once for each attempt, and to show itself.
    """

    def __init__(self, *urls: URL, **settings: Any) -> None:  # noqa: ANN401  # the library's own
        self._urls = urls
        self._next = 0
        super().__init__(urls[0], **settings)
        self._next = 0  # it reads the URL's settings when it is made

    @property
    def url(self) -> URL:
        """Give the next node's URL."""
        url = self._urls[self._next]
        self._next = (self._next + 1) % len(self._urls)
        return url

    @url.setter
    def url(self, _: URL) -> None:
        """Take no URL: those are given once."""

    def __str__(self) -> str:
        return ", ".join(f"{url.host}:{url.port}" for url in self._urls)


async def connect(
    address: Address,
    *,
    purpose: str,
    within: timedelta,
    heartbeat: timedelta,
    tls: SSLContext | None,
) -> RobustConnection:
    """Give an open connection that reconnects by itself; the caller closes it.

    Of several nodes it takes any that lets it in, and of `within` each has its share.

    Raises:
        BrokerUnavailable: it could not be made; the first attempt at each node decides.
    """
    urls = [
        make_url(
            each,
            heartbeat=int(heartbeat.total_seconds()),
            reconnect_interval=RECONNECT_INTERVAL_S,
        )
        for each in secrets.SystemRandom().sample(address.urls, len(address.urls))
    ]
    failures: list[BrokerUnavailable] = []
    for turn in range(len(urls)):
        connection = _Roaming(
            *urls[turn:],
            *urls[:turn],
            ssl_context=tls,
            client_properties={"connection_name": f"warren producer, {purpose}"},
        )
        # The library passes these on to the one below it, which alone knows transports.
        connection.kwargs["transport_factory"] = TolerantTransport()
        try:
            await connection.connect(timeout=within.total_seconds() / len(urls))
        except BaseException as error:
            # Else the half-made connection would close itself in a task of its own when it is collected.
            await connection.close()
            if not isinstance(error, LOST):
                raise
            failure = unavailable(error, address)
            failure.__cause__ = error
            failures.append(failure)
        else:
            return connection
    # What a node refuses says more than that another cannot be reached.
    raise next((each for each in failures if isinstance(each, AccessRefused)), failures[-1])


def unavailable(error: BaseException, address: Address) -> BrokerUnavailable:
    """Translate the library's error about a connection or a channel."""
    match error:
        case AuthenticationError() | ProbableAuthenticationError():
            return AccessRefused(
                f"the broker at {address.where} refuses user {address.tenant!r} or its password; check the URL"
            )
        case ConnectionNotAllowed() | InvalidFrameError():
            # A refused virtual host ends the handshake; some versions of the library see only the wrong frame.
            return AccessRefused(
                f"the broker at {address.where} does not let user {address.tenant!r} in: the virtual host does "
                "not exist or the user has no permissions there; check the URL's path"
            )
        case ChannelAccessRefused():
            return AccessRefused(
                f"the broker at {address.where} refuses user {address.tenant!r} a permission that a producer "
                f"needs ({_text(error)}); load Warren's definitions for this user"
            )
        case ChannelNotFoundEntity():
            return TopologyMissing(
                f"the broker at {address.where} lacks a part of Warren's topology ({_text(error)}); load "
                "rabbitmq/definitions.json into it"
            )
        case _:
            return BrokerUnavailable(
                f"no connection to the broker at {address.where} ({_text(error)}); check that it runs and is "
                "reachable, then try again"
            )


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def cancelled_from_outside() -> bool:
    """Tell whether the CancelledError at hand was asked for.

    A connection that the library gave up as stuck fails its futures with CancelledError too.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def obstacle(connection: RobustConnection) -> str:
    """Say what stands between us and a confirm right now."""
    transport = connection.transport
    if transport is None or not connection.connected.is_set():
        return "the connection is down and is being made again"
    try:
        async with asyncio.timeout(0.05):
            await transport.ready()
    except TimeoutError:
        return "the broker blocks publishers, as it does while a memory or disk alarm lasts"
    return "no confirm came"
