"""An httpx transport over pyqwest, and the one place that knows pyqwest's exceptions."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import pyqwest

from worker.upstream import alpn
from worker.upstream.spec import Http

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
    """Sends requests of one endpoint through pyqwest's connections.

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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Give the response as soon as its head is there; its body streams. Raises httpx's errors only."""
        if self._closed:
            raise RuntimeError("the transport is closed: nothing may call any more")
        sent = _translate(request, await request.aread())
        pool = self._pool(http2=await self._is_http2(request.url))
        try:
            with _translated(), _not_taken():
                response = await pool.execute(sent)
        except (httpx.ConnectError, httpx.RemoteProtocolError):
            self._asking = None  # another server may stand there by now: ask again
            raise
        return httpx.Response(
            response.status,
            headers=list(response.headers.items()),
            stream=_Body(response),
        )

    async def aclose(self) -> None:
        """Close all connections; calls that are still in flight break. Waits for an open handshake's end."""
        self._closed = True
        if self._asking is not None:
            await asyncio.wait([self._asking])
        for pool in self._pools.values():
            await pool.aclose()

    async def _is_http2(self, url: httpx.URL) -> bool:
        if self._http != "auto":
            return self._http == "2"
        if url.scheme != "https":
            return False
        # All calls of a burst wait for one handshake; one of them being cancelled must not end it.
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(url.host, url.port or 443))
        asking = self._asking
        answer = await asyncio.shield(asking)
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
        if http2 not in self._pools:
            self._pools[http2] = pyqwest.HTTPTransport(
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
        return self._pools[http2]


class _Body(httpx.AsyncByteStream):
    """A response's body as it arrives."""

    def __init__(self, response: pyqwest.Response) -> None:
        self._response = response
        self._complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self._response.content:
                yield bytes(chunk)
        self._complete = True

    async def aclose(self) -> None:
        """End the response; if it is not complete, the server sees that at once."""
        if (
            not self._complete
        ):  # else there is nothing to close, and the way to the engine's thread costs time
            await self._response.aclose()


def _translate(request: httpx.Request, content: bytes) -> pyqwest.Request:
    try:
        headers = pyqwest.Headers(
            [pair for pair in request.headers.multi_items() if pair[0] not in _ITS_HEADERS]
        )
        return pyqwest.Request(request.method, str(request.url), headers, content)
    except ValueError:
        # Its text quotes the header's value, which may be the key; so neither text nor cause is kept.
        raise httpx.LocalProtocolError("a header or the URL cannot be sent") from None


@contextmanager
def _not_taken() -> Iterator[None]:
    """Only where no head has come yet: a stream that is refused after that was worked on, whatever its code says."""
    try:
        yield
    except pyqwest.StreamError as error:
        if error.code is pyqwest.StreamErrorCode.REFUSED_STREAM:
            raise NotTaken(str(error)) from error
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _ERROR_TYPES as error:
        raise next(ours for theirs, ours in ERRORS if isinstance(error, theirs))(
            str(error)
        ) from error
