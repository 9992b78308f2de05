"""How a request goes out and its answer comes in: of HTTP no more than an endpoint looks at, over any httpx transport."""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import httpx

Piece: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A POST request. `url` is normal, as httpx writes it; `headers` have lower-case names. Its `repr` shows neither headers nor body."""

    url: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)


class Answer(Protocol):
    """An answer whose head is there."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case; where one stands several times, its values joined by commas."""
        ...

    async def piece(self) -> Piece | None:
        """Give the next piece of the body as it came, packed as it is; None: there is no more.

        Raises:
            httpx.RequestError: the connection failed on the way.
        """
        ...

    async def aclose(self) -> None:
        """End the answer; if it is not complete, the server sees that at once."""
        ...


class Wire(Protocol):
    """The connections of one endpoint."""

    def send(self, request: Request) -> Coroutine[Any, Any, Answer]:
        """Give the answer as soon as its head is there. It is to be closed.

        Raises:
            httpx.RequestError: there is no answer. No text of it shows a header.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; calls that are still in flight break."""
        ...


class HttpxWire:
    """A wire over an httpx transport, which it owns."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Answer:
        """Give the answer as soon as its head is there."""
        return HttpxAnswer(
            await self._transport.handle_async_request(
                httpx.Request(
                    "POST", request.url, headers=list(request.headers), content=request.body
                )
            )
        )

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


class HttpxAnswer:
    """An answer out of httpx's response."""

    def __init__(self, response: httpx.Response) -> None:
        # The stream itself instead of `aiter_bytes`, which unpacks without a bound.
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the transport gave a response without an asynchronous stream")
        self.status = response.status_code
        self.headers = dict(response.headers.items())
        self._response = response
        self._pieces = aiter(stream)

    async def piece(self) -> Piece | None:
        """Give the next piece of the body."""
        return await anext(self._pieces, None)

    async def aclose(self) -> None:
        """Close the response."""
        await self._response.aclose()
