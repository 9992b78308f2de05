"""What was found at an endpoint: its key, whether it can be reached, what it answers."""

import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from worker.cli.doctor.finding import Finding, failed, ok, warn

# What servers usually allow on one HTTP/2 connection; the rest waits for a stream.
_STREAMS: Final = 100
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A connection that was made and closed again; `protocol` is what TLS agreed on, "" without TLS."""

    host: str
    port: int
    protocol: str


def key(name: str, value: str | None, *, source: str, exposed: bool) -> Finding:
    """Judge an endpoint's key without showing any of it; `source` is its file, or what else gave it."""
    what = f"key of {name}"
    if value is None:
        return ok(what, "none is configured: calls go out without one")
    if not value.isascii() or value != value.strip():
        return failed(
            what,
            f"{source} holds blanks around it or letters that no header takes",
            f"write it anew into {source}",
        )
    if exposed:
        return warn(what, f"everybody on this machine may read {source}", f"chmod o= {source}")
    return ok(what, f"{source} holds one")


def reached(name: str, found: Reached | OSError, *, where: str, jobs: int) -> Finding:
    """Judge whether an endpoint can be reached, and whether so many calls at once fit."""
    what = f"endpoint {name}"
    if isinstance(found, OSError):
        return failed(
            what, f"{where}: {_why(found)}", f"check endpoints.{name}.base_url, and the way there"
        )
    detail = f"{where} can be reached{', over ' + found.protocol if found.protocol else ''}"
    if found.protocol == "h2" and jobs > _STREAMS:
        return warn(
            what,
            f"{detail}; servers allow about {_STREAMS} calls on an HTTP/2 connection, and up to {jobs} may want one",
            f'set endpoints.{name}.http = "1.1", or lower the concurrency of its tiers',
        )
    return ok(what, detail)


def answered(name: str, status: int) -> Finding:
    """Judge what asking for the list of models was answered."""
    what = f"call to {name}"
    if status in _REFUSED:
        return failed(
            what, f"it refuses the key ({status})", f"give it another in endpoints.{name}.key_file"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return warn(
            what,
            f"it is not well, or refuses more calls ({status})",
            "look at the provider's status page",
        )
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        return warn(
            what,
            f"GET /models was answered with {status}: it may have no such page, or the path is wrong",
            f"check endpoints.{name}.base_url, its API's version and endpoints.{name}.api: docs/endpoints.md",
        )
    return ok(what, f"it takes the key ({status})")


def _why(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error}); `ca_file` names others to trust"
        case ssl.SSLError():
            return f"TLS failed ({error}): does the port speak TLS?"
        case socket.gaierror():
            return "its host name is not known"
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionRefusedError():
            return "nobody listens there"
        case _:
            return error.strerror or type(error).__name__
