"""HTTP/1.1 on an asyncio transport: httptools reads, the responder's bytes go out as they are.

One call at a time per connection, in order; requests that a client pipelines wait. Reading never
pauses, so a client that goes away is noticed at once. `Expect` is ignored.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Final, cast

import httptools

from simulator.sockets import reset_connection
from simulator.wire import Application, Headers, How, Request, Serving

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Http1Connection(asyncio.Protocol):
    """One connection, and the responder of the call that it serves now."""

    http = "1.1"

    def __init__(self, app: Application) -> None:
        self._app = app
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._serving: Serving | None = None
        self._taking = False
        self._keep_alive = True
        self._head = b""
        self._paused = False
        self._ending = False

    # --- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start. A low-water mark of zero makes `resume_writing` mean that all bytes have left."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1 << 16, low=0)
        self._app.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read; what is no HTTP, or wants to upgrade, gets a 400 and the connection closes."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse()
            return
        except httptools.HttpParserUpgrade:
            # llhttp reads no body after these headers, so the request cannot be served as HTTP/1.1.
            self._waiting.pop()
            self._refuse()
            return
        self._take()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the open call that its client is gone; requests that only waited were never calls."""
        del exc
        self._waiting.clear()
        self._finish(How.CLIENT_CLOSED)
        self._app.lost(self)

    def pause_writing(self) -> None:
        """Remember that the client does not take the bytes."""
        self._paused = True

    def resume_writing(self) -> None:
        """All bytes have left: a response that was complete is done now."""
        self._paused = False
        if self._ending:
            self._done()

    # --- httptools --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._target, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may come in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of several with one name the last stands."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request. It is served outside the parser, which would swallow exceptions."""
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=self._target.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            http=self.http,
        )
        self._waiting.append((request, self._parser.should_keep_alive()))

    # --- Responder --------------------------------------------------------------------------

    def send_headers(self, status: int, headers: Headers) -> None:
        """Build the head; it goes out with the first data or the end."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not self._keep_alive:
            lines.append("connection: close")
        self._head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def send_data(self, data: bytes) -> None:
        """Write, together with the head if that still waits."""
        head, self._head = self._head, b""
        self._transport.write(head + data)

    def end(self) -> None:
        """Write what is left; the call is done when the operating system has taken all of it."""
        if self._head:
            self.send_data(b"")
        if self._paused:
            self._ending = True
        else:
            self._done()

    def reset(self) -> None:
        """Close with RST."""
        self._finish(How.RESET)
        reset_connection(self._transport)

    def retire(self) -> None:
        """Answer with `Connection: close`."""
        self._keep_alive = False

    @property
    def closed(self) -> bool:
        """Whether the connection is closing or closed."""
        return self._transport.is_closing()

    def shutdown(self) -> None:
        """End the open call and drop the connection."""
        self._finish(How.SHUTDOWN)
        self._transport.abort()

    # --- one call after the other -----------------------------------------------------------

    def _take(self) -> None:
        """Serve what waits. A call that ends inside `begin` is followed by this loop, not a recursion."""
        if self._taking:
            return
        self._taking = True
        while self._serving is None and self._waiting and not self.closed:
            request, self._keep_alive = self._waiting.popleft()
            self._serving = self._app.accept(request, self)
            self._serving.begin()
        self._taking = False

    def _refuse(self) -> None:
        if self._serving is None:
            self._transport.write(_BAD_REQUEST)
        self._transport.close()

    def _done(self) -> None:
        self._ending = False
        self._finish(How.DONE)
        if self._keep_alive:
            self._take()
        else:
            self._transport.close()

    def _finish(self, how: How) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.over(how)
