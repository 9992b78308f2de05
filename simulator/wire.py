"""What a protocol and a call say to each other, whatever the HTTP version.

A connection (`http1`, `http2`) reads a whole request, asks the application to accept it, and lends
the call a `Responder`. The call speaks through the responder; the connection tells the call, exactly
once, how it ended. Nothing here knows bytes, sockets or faults.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Headers = Sequence[tuple[str, str]]


class How(StrEnum):
    """How a call ended."""

    DONE = "done"
    """Every byte of the response was handed to the operating system or the HTTP/2 peer's window."""
    CLIENT_CLOSED = "client_closed"
    """The client closed its connection, or reset its stream, before the response was complete."""
    RESET = "reset"
    """The simulator cut the call off: TCP RST or RST_STREAM."""
    SHUTDOWN = "shutdown"
    """The simulator stopped while the call was open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One complete HTTP request. Header names are lower case; the path has no query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    http: str
    """`1.1` or `2`."""


class Responder(Protocol):
    """The call's side of a connection. After the call is over, nothing may be sent through it."""

    def send_headers(self, status: int, headers: Headers) -> None:
        """Send the head; it may travel together with the first data."""

    def send_data(self, data: bytes) -> None:
        """Send body bytes in order; what the client does not take yet is kept here."""

    def end(self) -> None:
        """End the response. The call is over (`DONE`) when the last byte has left."""

    def reset(self) -> None:
        """Cut the call off at once; it is over (`RESET`) when this returns."""

    def retire(self) -> None:
        """Let the connection take no call after those that it holds (GOAWAY, `Connection: close`)."""

    @property
    def closed(self) -> bool:
        """Whether the client can no longer be reached."""


class Serving(Protocol):
    """The connection's side of a call."""

    def begin(self) -> None:
        """Start to respond. Called once, after the connection has stored this call."""

    def over(self, how: How) -> None:
        """Tell that the call ended. Called exactly once."""


class Connection(Protocol):
    """An open connection, as the application sees it."""

    http: str

    def shutdown(self) -> None:
        """End every call of this connection as `SHUTDOWN` and drop the connection."""


class Application(Protocol):
    """What a connection needs from the simulator."""

    def opened(self, connection: Connection) -> None:
        """Tell that a connection speaks a known protocol."""

    def lost(self, connection: Connection) -> None:
        """Tell that the connection is gone; its calls are over already."""

    def accept(self, request: Request, responder: Responder) -> Serving:
        """Make a call of the request. The caller stores it, then calls `begin`."""
