"""The connections of an endpoint, which are pyqwest's, and the one place that knows pyqwest and its exceptions."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Final

import httpx
import pyqwest

from worker.upstream import alpn
from worker.upstream.spec import Http
from worker.upstream.wire import Answer, Piece, Request

# pyqwest reads proxies from the environment unless it is given one. This one is used for no host at
# all, and if that should ever fail, nobody listens there: better no call than a key sent elsewhere.
_NO_PROXY: Final = pyqwest.Proxy("http://127.0.0.1:1", no_proxy="*,0.0.0.0/0,::/0")

_POOL_IDLE_S: Final = 30.0
"""Shorter than the 60 s and more after which usual load balancers drop idle connections."""

# Written by the client library itself, from the URL and the body.
_ITS_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})

# The first class that fits stands: StreamError is a RemoteProtocolError, ConnectTimeout is a
# ConnectionError and a TimeoutError, and those two are built into Python.
ERRORS: Final[tuple[tuple[type[Exception], type[httpx.RequestError]], ...]] = (
    (pyqwest.ConnectTimeout, httpx.ConnectTimeout),
    (pyqwest.StreamError, httpx.RemoteProtocolError),
    (pyqwest.RemoteProtocolError, httpx.RemoteProtocolError),
    (pyqwest.ReadError, httpx.ReadError),
    (pyqwest.WriteError, httpx.WriteError),
    (pyqwest.TooManyRedirects, httpx.TooManyRedirects),
    (ConnectionError, httpx.ConnectError),
    (TimeoutError, httpx.ReadTimeout),
    (RuntimeError, httpx.ReadError),  # what pyqwest does not name
)
_ERROR_TYPES: Final = tuple(error for error, _ in ERRORS)


class NotTaken(httpx.RemoteProtocolError):
    """The server refused the call before it worked on it, so that a repeat costs nothing (RFC 9113, 8.7).

    It sent REFUSED_STREAM, or a graceful GOAWAY with a lower stream's number. pyqwest has then already repeated the call
    twice, at once, on another stream or connection. A GOAWAY with an error is not told by the number of the last stream:
    whether the call was taken is not known, and it is a plain RemoteProtocolError.
    """


class PyqwestTransport(httpx.AsyncBaseTransport):
    """Sends requests of one endpoint through pyqwest's connections: a `Wire`, and an httpx transport too.

    Both ways do the same. `send` makes none of httpx's objects, which cost more than a request itself; only its errors.

    Follows no redirect, keeps no cookie, unpacks no body, uses no proxy, and verifies TLS, against `ca_pem` if
    given and the system's authorities else. Its timeouts are the constructor's; those of a request's
    extensions are not looked at. Connections are opened as they are needed: one per call in flight over HTTP/1.1,
    one per as many streams as the server allows over HTTP/2. Cancelling a call, or closing its
    response early, closes its connection (HTTP/1.1) or resets its stream (HTTP/2) at once.

    `auto` asks a TLS server by one handshake and keeps to its answer until a connection fails. pyqwest's own
    negotiation opens a connection for every call of a burst and fails calls of it, see decision 0003.

    Raises:
        ValueError: `ca_pem` holds no certificate.
    """

    def __init__(
        self,
        *,
        http: Http = "auto",
        ca_pem: bytes | None = None,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float | None = None,
        most_idle: int = 1000,
    ) -> None:
        self._http = http
        self._ca_pem = ca_pem
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._most_idle = most_idle
        self._pools: dict[bool, pyqwest.HTTPTransport] = {}
        self._asking: asyncio.Task[bool | httpx.TransportError] | None = None
        self._tls = alpn.context(ca_pem)
        self._closed = False

    def send(self, request: Request) -> Coroutine[Any, Any, "PyqwestAnswer"]:
        """Give the answer as soon as its head is there. Raises httpx's errors only."""
        return self._executed("POST", request.url, request.headers, request.body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Give the response as soon as its head is there; its body streams. Raises httpx's errors only."""
        pairs = [pair for pair in request.headers.multi_items() if pair[0] not in _ITS_HEADERS]
        answer = await self._executed(
            request.method, str(request.url), pairs, await request.aread()
        )
        return httpx.Response(
            answer.status,
            headers=list(answer.response.headers.items()),
            stream=_Stream(answer),
        )

    async def aclose(self) -> None:
        """Close all connections; calls that are still in flight break. Waits for an open handshake's end."""
        self._closed = True
        if self._asking is not None:
            await asyncio.wait([self._asking])
        for pool in self._pools.values():
            await pool.aclose()

    async def _executed(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> "PyqwestAnswer":
        if self._closed:
            raise RuntimeError("the transport is closed: nothing may call any more")
        if self._http == "auto" and url.startswith("https:"):
            http2 = await self._is_http2(url)
        else:
            http2 = self._http == "2"
        pool = self._pools.get(http2) or self._pool(http2=http2)
        try:
            request = pyqwest.Request(method, url, pyqwest.Headers(headers), body)
        except ValueError:
            # Its text quotes the header's value, which may be the key; so neither text nor cause is kept.
            raise httpx.LocalProtocolError("a header or the URL cannot be sent") from None
        try:
            return PyqwestAnswer(await pool.execute(request))
        except _ERROR_TYPES as error:
            broken = _unanswered(error)
            if isinstance(broken, httpx.ConnectError | httpx.RemoteProtocolError):
                self._asking = None  # another server may stand there by now: ask again
            raise broken from error

    async def _is_http2(self, url: str) -> bool:
        """Tell what a TLS server speaks; it is asked if need be."""
        # All calls of a burst wait for one handshake; one of them being cancelled must not end it.
        if self._asking is None:
            asked = httpx.URL(url)
            self._asking = asyncio.create_task(self._ask(asked.host, asked.port or 443))
        asking = self._asking
        answer = asking.result() if asking.done() else await asyncio.shield(asking)
        if isinstance(answer, httpx.TransportError):
            if self._asking is asking:
                self._asking = None
            raise type(answer)(str(answer))
        return answer

    async def _ask(self, host: str, port: int) -> bool | httpx.TransportError:
        """Give an error instead of raising it: each caller that waits raises one of its own."""
        try:
            return await alpn.speaks_http2(
                host, port, tls=self._tls, timeout_s=self._connect_timeout_s
            )
        except httpx.TransportError as error:
            return error

    def _pool(self, *, http2: bool) -> pyqwest.HTTPTransport:
        pool = self._pools[http2] = pyqwest.HTTPTransport(
            http_version=pyqwest.HTTPVersion.HTTP2 if http2 else pyqwest.HTTPVersion.HTTP1,
            tls_ca_cert=self._ca_pem,
            tls_include_system_certs=self._ca_pem is None,
            proxy=_NO_PROXY,
            connect_timeout=self._connect_timeout_s,
            read_timeout=self._read_timeout_s,
            pool_idle_timeout=_POOL_IDLE_S,
            pool_max_idle_per_host=self._most_idle,
            enable_gzip=False,
            enable_brotli=False,
            enable_zstd=False,
            enable_cookie_store=False,
            follow_redirects=False,
            enable_otel=False,
        )
        return pool


class PyqwestAnswer:
    """An answer as it arrives. Of a complete one nothing is awaited: each way to the engine's thread costs time."""

    def __init__(self, response: pyqwest.Response) -> None:
        self.status = response.status
        self.headers = _headers(response)
        self.response = response
        self._pieces = response.content
        self._left = _length(response, self.headers)
        self._complete = self._left == 0

    async def piece(self) -> Piece | None:
        """Give the next piece of the body."""
        if self._complete:
            return None
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._complete = True
            return None
        except _ERROR_TYPES as error:
            raise _translated(error) from error
        self._left -= len(piece)
        self._complete = self._left == 0
        return piece

    async def aclose(self) -> None:
        """End the answer; if it is not complete, the server sees that at once."""
        if not self._complete:
            await self.response.aclose()


class _Stream(httpx.AsyncByteStream):
    """An answer's body for httpx."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._answer.piece()) is not None:
            yield bytes(piece)

    async def aclose(self) -> None:
        await self._answer.aclose()


def _headers(response: pyqwest.Response) -> dict[str, str]:
    pairs = list(response.headers.items())
    headers = dict(pairs)
    if len(headers) < len(pairs):
        headers = {name: ", ".join(response.headers.getall(name)) for name in headers}
    return headers


def _length(response: pyqwest.Response, headers: Mapping[str, str]) -> int:
    """Give how many bytes come, where that tells the body's end; else -1, which no count comes down to.

    Over HTTP/1.1 a connection is free again as soon as so many have come. An HTTP/2 stream is not: it ends by a flag,
    without which leaving it would reset it.
    """
    length = headers.get("content-length", "")
    counts = (
        response.http_version == pyqwest.HTTPVersion.HTTP1 and "transfer-encoding" not in headers
    )
    return int(length) if counts and length.isdecimal() else -1


def _unanswered(error: Exception) -> httpx.RequestError:
    """Give httpx's counterpart of an error before any head: a stream that is refused later was worked on, whatever its code says."""
    if (
        isinstance(error, pyqwest.StreamError)
        and error.code is pyqwest.StreamErrorCode.REFUSED_STREAM
    ):
        return NotTaken(str(error))
    return _translated(error)


def _translated(error: Exception) -> httpx.RequestError:
    return next(ours for theirs, ours in ERRORS if isinstance(error, theirs))(str(error))
