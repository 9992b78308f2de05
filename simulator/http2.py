"""HTTP/2 on an asyncio transport: h2 keeps the protocol's state, this file moves the bytes.

Both flow controls are respected: what the peer's windows do not take stays with its stream, and a
received body hands its window back as it arrives. Writes are gathered to one per turn of the loop.
"""

import asyncio
from typing import Final, cast

import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame

from simulator.h2state import server_state
from simulator.streams import Stream
from simulator.wire import Application, How, Request

PREFACE: Final = b"PRI * HTTP/2.0"
LINGER_S: Final = 0.2
"""Between the last response after a GOAWAY and the close: the client may close first."""

_FLUSH_EVERY: Final = 1 << 18


class Http2Connection(asyncio.Protocol):
    """One connection and its streams."""

    http = "2"

    def __init__(
        self, app: Application, *, max_streams: int = 1000, goaway_every: int | None = None
    ) -> None:
        self._app = app
        self._goaway_every = goaway_every
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._accepted = 0
        self._newest = 0
        self._last: int | None = None  # the last stream that we serve, once GOAWAY said so
        self._flushing = False
        self._paused = False
        self._h2 = server_state(max_streams)

    # --- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our settings and open the connection's window."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_FLUSH_EVERY, low=0)
        self._flush()
        self._app.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read frames; a breach of the protocol ends the connection with its GOAWAY.

        Nothing is sent before every frame was looked at: a later one may have closed the stream that
        an earlier one wants to answer.
        """
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._break_off()
            return
        ready = [stream for event in events if (stream := self._on(event)) is not None]
        for stream in ready:
            stream.begin()
        self._pump_all()
        self._flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every open call that its client is gone."""
        del exc
        self._drop_all(How.CLIENT_CLOSED)
        self._app.lost(self)

    def pause_writing(self) -> None:
        """Stop pumping: the client does not take the bytes."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on pumping."""
        self._paused = False
        self._pump_all()

    def shutdown(self) -> None:
        """End every open call and drop the connection."""
        self._drop_all(How.SHUTDOWN)
        self._transport.abort()

    # --- events -----------------------------------------------------------------------------

    def _on(self, event: h2.events.Event) -> Stream | None:
        """Take note of an event; give the stream whose request it completed."""
        match event:
            case h2.events.RequestReceived():
                self._open(event)
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream := self._streams.get(event.stream_id):
                    stream.body += event.data
            case h2.events.StreamEnded():
                if stream := self._streams.get(event.stream_id):
                    self._accept(stream)
                    return stream
            case h2.events.StreamReset():
                if stream := self._streams.get(event.stream_id):
                    self.finish(stream, How.CLIENT_CLOSED)
            case h2.events.ConnectionTerminated():
                self._break_off()  # h2 sends nothing more once the client has said GOAWAY
            case _:
                pass
        return None

    def _open(self, event: h2.events.RequestReceived) -> None:
        if self._last is not None and event.stream_id > self._last:
            return  # above the number in our GOAWAY: the client knows that it was not processed
        self._newest = max(self._newest, event.stream_id)
        self._accepted += 1
        headers = cast("list[tuple[str, str]]", event.headers)
        self._streams[event.stream_id] = Stream(self, event.stream_id, dict(headers))
        if self._goaway_every is not None and self._accepted >= self._goaway_every:
            self.retire()

    def _accept(self, stream: Stream) -> None:
        headers = stream.headers
        request = Request(
            method=headers.get(":method", ""),
            path=headers.get(":path", "").partition("?")[0],
            headers=headers,
            body=bytes(stream.body),
            http=self.http,
        )
        stream.serving = self._app.accept(request, stream)

    # --- what streams ask for ---------------------------------------------------------------

    def send_head(self, stream: Stream, headers: list[tuple[str, str]]) -> None:
        """Send a response's head."""
        self._h2.send_headers(stream.number, headers)
        self._flush_soon()

    def pump(self, stream: Stream) -> None:
        """Send what the stream has and the windows take; after the last byte its call is done."""
        gathered = 0
        while stream.pending and not self._paused:
            room = min(
                self._h2.local_flow_control_window(stream.number),
                self._h2.max_outbound_frame_size,
            )
            if room <= 0:
                break
            chunk, stream.pending = stream.pending[:room], stream.pending[room:]
            self._h2.send_data(stream.number, chunk)
            gathered += len(chunk)
            if gathered >= _FLUSH_EVERY:
                gathered = 0
                self._flush()
        if stream.ending and not stream.pending:
            self._h2.end_stream(stream.number)
            self.finish(stream, How.DONE)
        self._flush_soon()

    def cut(self, stream: Stream) -> None:
        """Send RST_STREAM. INTERNAL_ERROR, because clients repeat a REFUSED_STREAM by themselves."""
        self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self.finish(stream, How.RESET)
        self._flush_soon()

    def retire(self) -> None:
        """Send a graceful GOAWAY once: streams up to the newest are served, then we close.

        Written by hand, because h2 lets nothing more be sent on a connection after its own GOAWAY.
        """
        if self._last is None:
            self._last = self._newest
            self._flush()
            frame = GoAwayFrame(stream_id=0, last_stream_id=self._last, error_code=0)
            self._transport.write(frame.serialize())
            self._close_if_idle()

    def finish(self, stream: Stream, how: How) -> None:
        """End a stream's call and forget the stream."""
        self._streams.pop(stream.number, None)
        stream.over(how)
        self._close_if_idle()

    @property
    def closed(self) -> bool:
        """Whether the connection is closing or closed."""
        return self._transport.is_closing()

    # --- bytes ------------------------------------------------------------------------------

    def _pump_all(self) -> None:
        for stream in tuple(self._streams.values()):
            if stream.pending:
                self.pump(stream)

    def _drop_all(self, how: How) -> None:
        for stream in tuple(self._streams.values()):
            self._streams.pop(stream.number)
            stream.over(how)

    def _break_off(self) -> None:
        self._drop_all(How.CLIENT_CLOSED)
        self._close()

    def _close_if_idle(self) -> None:
        if self._last is not None and not self._streams:
            self._loop.call_later(LINGER_S, self._close)

    def _close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        data = self._h2.data_to_send()
        if data and not self.closed:
            self._transport.write(data)
