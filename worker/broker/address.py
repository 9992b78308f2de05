"""Where the broker is, and what its refusals mean."""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)
from pamqp.exceptions import PAMQPException
from yarl import URL

from producer_sdk.hosts import one_each
from worker.errors import SettingsError

# What a lost connection or channel, or one that cannot be made, looks like; but see `is_loss`.
LOST: Final = (AMQPError, OSError, ChannelInvalidStateError, PAMQPException)

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_VHOST: Final = ", virtual host "
_NO_URL: Final = "the broker's URL must look like amqps://USER:PASSWORD@HOST/VHOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and as whom to connect. The URLs, one for each node, hold the password and are never shown."""

    urls: tuple[URL, ...] = field(repr=False)
    user: str
    where: str

    @classmethod
    def parse(cls, url: str, *, allow_plaintext: bool = False) -> Self:
        """Read a URL like `amqps://USER:PASSWORD@HOST:PORT/VHOST`, or with several hosts, `@HOST1,HOST2:PORT/VHOST`.

        Raises:
            SettingsError: it is none, or it would send the password in the clear to another machine.
        """
        try:
            nodes = [_read(each, allow_plaintext=allow_plaintext) for each in one_each(url)]
        except ValueError:
            raise SettingsError((_NO_URL,)) from None
        parts = urlsplit(url)
        vhost = unquote(parts.path[1:]) or "/"
        return cls(
            urls=tuple(nodes),
            user=unquote(parts.username or ""),
            where=_where(nodes, repr(vhost)),
        )

    @property
    def nodes(self) -> "tuple[Address, ...]":
        """One address for each node."""
        if len(self.urls) == 1:
            return (self,)
        return tuple(
            Address(
                urls=(url,),
                user=self.user,
                where=_where((url,), self.where.partition(_VHOST)[2]),
            )
            for url in self.urls
        )


def _where(nodes: Iterable[URL], vhost: str) -> str:
    hosts = ", ".join(f"{node.host}:{node.port}" for node in nodes)
    return f"{hosts}{_VHOST}{vhost}"


def _read(url: str, *, allow_plaintext: bool) -> URL:
    """Read the URL of one node, and give it with its port; ValueError: it cannot be read."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if not host or parts.scheme not in _PORTS or not parts.username:
        raise SettingsError((_NO_URL,))
    if parts.query or parts.fragment:
        raise SettingsError(
            ("the broker's URL must end with the virtual host: nothing is set in it after that",)
        )
    if parts.scheme == "amqp" and not allow_plaintext and not _is_loopback(host):
        raise SettingsError(
            (
                f"the broker at {host} would get the password in the clear: use amqps://, or allow plaintext",
            )
        )
    return URL(url, encoded=True).with_port(port or _PORTS[parts.scheme])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def explain(error: BaseException, address: Address) -> str:
    """Say what a failure to connect, or to open a channel, means, and what to do about it."""
    match error:
        case AuthenticationError() | ProbableAuthenticationError():
            return (
                f"the broker at {address.where} refuses user {address.user!r} or its password; "
                "check the user and the password"
            )
        case ConnectionNotAllowed() | InvalidFrameError():
            # A refused virtual host ends the handshake; the library sees only a frame that it did not expect.
            return (
                f"the broker at {address.where} does not let user {address.user!r} in: the virtual host does "
                "not exist or the user has no permissions in it; check the URL's path and the permissions"
            )
        case IncompatibleProtocolError() | ProtocolSyntaxError():
            return (
                f"what answers at {address.where} does not speak AMQP 0-9-1; check host and port, "
                "and whether the port wants TLS (amqps://)"
            )
        case TimeoutError():
            return f"the broker at {address.where} did not answer in time; check that it runs and is reachable"
        case _:
            return _explain_socket(error, address)


def _explain_socket(error: BaseException, address: Address) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            return (
                f"the broker at {address.where} shows a certificate that is not trusted "
                f"({cause}); check the CA file and the host name"
            )
        case ssl.SSLError():
            return (
                f"TLS with the broker at {address.where} failed ({cause}); "
                "check that the port is the one for TLS"
            )
        case ConnectionRefusedError():
            return (
                f"nobody listens at {address.where}; check that the broker runs, and host and port"
            )
        case _:
            return (
                f"no connection to the broker at {address.where} ({describe(error)}); check that it runs and is "
                "reachable, and whether the port wants TLS (amqps://)"
            )


def describe(error: BaseException) -> str:
    """Give an error's own words; those of the broker's refusals hold names only, never content."""
    match error:
        case ChannelNotFoundEntity() | ChannelAccessRefused():
            return f"{error}; `warren topology check` tells what is missing"
        case asyncio.CancelledError():
            return "the connection was given up"
        case TimeoutError():
            return "no answer in time"
        case _ if type(error) is Exception:
            return "the connection ended"
        case _:
            return str(error) or type(error).__name__


def is_loss(error: BaseException) -> bool:
    """Tell whether an error means that the connection or channel is lost, or cannot be had.

    Beside its own errors the library fails what waits on a lost connection with a CancelledError that nobody
    asked for, when it gives the connection up as stuck, and with a bare Exception, when the connection ended
    without a word.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() == 0
    return isinstance(error, LOST) or type(error) is Exception
