"""One HTTP/2 stream: the request as it arrives, and the responder of its call."""

from typing import Protocol

from simulator.wire import Headers, How, Serving


class StreamOwner(Protocol):
    """The connection, as its streams see it."""

    def send_head(self, stream: "Stream", headers: list[tuple[str, str]]) -> None:
        """Send a response's head."""

    def pump(self, stream: "Stream") -> None:
        """Send what is pending and what the windows take."""

    def cut(self, stream: "Stream") -> None:
        """Reset the stream."""

    def retire(self) -> None:
        """Take no more streams."""

    @property
    def closed(self) -> bool:
        """Whether the connection is closing or closed."""


class Stream:
    """Keeps what the connection needs to know of a stream; sends through the connection."""

    __slots__ = ("_over", "_owner", "body", "ending", "headers", "number", "pending", "serving")

    def __init__(self, owner: StreamOwner, number: int, headers: dict[str, str]) -> None:
        self._owner = owner
        self._over = False
        self.number = number
        self.headers = headers
        self.body = bytearray()
        self.pending = memoryview(b"")
        self.ending = False
        self.serving: Serving | None = None

    def begin(self) -> None:
        """Let the accepted call respond, unless the client took it back in the meantime."""
        if self.serving is not None:
            self.serving.begin()

    def send_headers(self, status: int, headers: Headers) -> None:
        """Send the head."""
        self._owner.send_head(self, [(":status", str(status)), *headers])

    def send_data(self, data: bytes) -> None:
        """Queue body bytes and send what the windows take."""
        self.pending = memoryview(bytes(self.pending) + data) if self.pending else memoryview(data)
        self._owner.pump(self)

    def end(self) -> None:
        """End the response after what is queued."""
        self.ending = True
        self._owner.pump(self)

    def reset(self) -> None:
        """Send RST_STREAM."""
        self._owner.cut(self)

    def retire(self) -> None:
        """Send GOAWAY for the whole connection."""
        self._owner.retire()

    def over(self, how: How) -> None:
        """Tell the call, if the request was complete enough to be one, that it ended."""
        self._over = True
        serving, self.serving = self.serving, None
        if serving is not None:
            serving.over(how)

    @property
    def closed(self) -> bool:
        """Whether the client can no longer be reached on this stream."""
        return self._over or self._owner.closed
