"""Where the broker is, and what its refusals mean."""

import asyncio
import ipaddress
import ssl
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

from worker.errors import SettingsError

# What a lost connection or channel, or one that cannot be made, looks like; but see `is_loss`.
LOST: Final = (AMQPError, OSError, ChannelInvalidStateError, PAMQPException)

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the broker is and as whom to connect. The URL holds the password and is never shown."""

    url: URL = field(repr=False)
    user: str
    where: str

    @classmethod
    def parse(cls, url: str, *, allow_plaintext: bool = False) -> Self:
        """Read a URL like `amqps://USER:PASSWORD@HOST:PORT/VHOST`.

        Raises:
            SettingsError: it is none, or it would send the password in the clear to another machine.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        if not host or parts.scheme not in _PORTS or not parts.username:
            raise SettingsError(
                ("the broker's URL must look like amqps://USER:PASSWORD@HOST/VHOST",)
            )
        if parts.query or parts.fragment:
            raise SettingsError(
                (
                    "the broker's URL must end with the virtual host: nothing is set in it after that",
                )
            )
        if parts.scheme == "amqp" and not allow_plaintext and not _is_loopback(host):
            raise SettingsError(
                (
                    f"the broker at {host} would get the password in the clear: use amqps://, or allow plaintext",
                )
            )
        port = port or _PORTS[parts.scheme]
        vhost = unquote(parts.path[1:]) or "/"
        return cls(
            url=URL(url, encoded=True).with_port(port),
            user=unquote(parts.username),
            where=f"{host}:{port}, virtual host {vhost!r}",
        )


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
