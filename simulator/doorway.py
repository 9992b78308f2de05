"""The switch: which protocol a fresh connection speaks."""

import asyncio
from typing import cast

from simulator.http1 import Http1Connection
from simulator.http2 import PREFACE, Http2Connection
from simulator.service import Service


class Doorway(asyncio.Protocol):
    """Waits for the first bytes of a connection and hands it to HTTP/1.1 or HTTP/2."""

    def __init__(
        self,
        service: Service,
        waiting: set[asyncio.Transport],
        *,
        max_streams: int,
        goaway_every: int | None,
    ) -> None:
        self._service = service
        self._waiting = waiting
        self._max_streams = max_streams
        self._goaway_every = goaway_every
        self._transport: asyncio.Transport
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Under TLS, ALPN has decided already."""
        self._transport = cast("asyncio.Transport", transport)
        self._waiting.add(self._transport)
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() == "h2":
            self._hand_over(http2=True)

    def data_received(self, data: bytes) -> None:
        """In cleartext, the preface decides: prior knowledge, or HTTP/1.1."""
        self._first += data
        if len(self._first) >= len(PREFACE) or not PREFACE.startswith(self._first):
            self._hand_over(http2=self._first.startswith(PREFACE))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that never said anything."""
        del exc
        self._waiting.discard(self._transport)

    def _hand_over(self, *, http2: bool) -> None:
        protocol: Http1Connection | Http2Connection
        if http2:
            protocol = Http2Connection(
                self._service, max_streams=self._max_streams, goaway_every=self._goaway_every
            )
        else:
            protocol = Http1Connection(self._service)
        self._waiting.discard(self._transport)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._first:
            protocol.data_received(self._first)
