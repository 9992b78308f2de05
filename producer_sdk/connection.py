"""Connections to the broker, and what its refusals mean."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from ssl import SSLContext
from typing import Final, Self
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

from producer_sdk.errors import (
    AccessRefused,
    BrokerUnavailable,
    InvalidSetting,
    TopologyMissing,
)
from producer_sdk.tolerance import TolerantTransport

# What a lost connection, or one that cannot be made, looks like. RuntimeError as a whole is not in it: the
# library raises it for closed channels, as the subclass named here, but bugs are RuntimeErrors too.
LOST: Final = (AMQPError, OSError, ChannelInvalidStateError, PAMQPException)

RECONNECT_INTERVAL_S: Final = 1
_NO_URL: Final = "url: must look like amqps://USER:PASSWORD@HOST/VHOST; the user is the tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and as whom to connect; the URL holds the password and is never shown."""

    url: str = field(repr=False)
    tenant: str
    where: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an AMQP URL; its user name is the tenant.

        Raises:
            InvalidSetting: it is no `amqp://` or `amqps://` URL with a user name.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except (AttributeError, TypeError, ValueError):  # the first two: it is no string at all
            raise InvalidSetting(_NO_URL) from None
        if not host or parts.scheme not in {"amqp", "amqps"} or not parts.username:
            raise InvalidSetting(_NO_URL)
        port = port or (5671 if parts.scheme == "amqps" else 5672)
        vhost = unquote(parts.path[1:]) or "/"
        return cls(
            url=url, tenant=unquote(parts.username), where=f"{host}:{port}, virtual host {vhost!r}"
        )


async def connect(
    address: Address,
    *,
    purpose: str,
    within: timedelta,
    heartbeat: timedelta,
    tls: SSLContext | None,
) -> RobustConnection:
    """Give an open connection that reconnects by itself; the caller closes it.

    Raises:
        BrokerUnavailable: it could not be made; the first attempt decides.
    """
    url = make_url(
        address.url,
        heartbeat=int(heartbeat.total_seconds()),
        reconnect_interval=RECONNECT_INTERVAL_S,
    )
    connection = RobustConnection(
        url, ssl_context=tls, client_properties={"connection_name": f"warren producer, {purpose}"}
    )
    # The library passes these on to the one below it, which alone knows transports.
    connection.kwargs["transport_factory"] = TolerantTransport()
    try:
        await connection.connect(timeout=within.total_seconds())
    except BaseException as error:
        # Else the half-made connection would close itself in a task of its own when it is collected.
        await connection.close()
        if isinstance(error, LOST):
            raise unavailable(error, address) from error
        raise
    return connection


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
