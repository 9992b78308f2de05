"""What becomes of calls whose stream or connection the server gives up, over real sockets.

The servers here say what the simulator never says: REFUSED_STREAM, GOAWAY with a chosen last stream, a closed connection at
a chosen moment. They count the requests that reached them whole.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from tests.unit.worker.upstream.fakes import KEY, Memory, always, job
from worker.clock import SystemClock
from worker.core.classify import Break
from worker.core.kinds import Kind
from worker.core.model import Attempted, Completed, Failed, Work
from worker.core.quick import TryPolicy
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec, Http

ANSWER: Final = b'{"choices": [{}]}'
THREE: Final = 3
"""The calls that pyqwest makes of one whose stream is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """RST_STREAM; `head`: after the response's head."""

    code: ErrorCodes
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goaway:
    """GOAWAY, and then the end of the connection."""

    last: int
    code: ErrorCodes = ErrorCodes.NO_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The end of the connection; `hard`: by a TCP reset."""

    hard: bool = False


Act: TypeAlias = Reset | Goaway | Close | None
"""None: an answer."""


@dataclass(slots=True)
class Server:
    """Does with the n-th request what `plan` says of n; counts from 1 over all connections."""

    plan: Callable[[int], Act]
    seen: int = 0
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        speaks = h2.connection.H2Connection(config)
        speaks.initiate_connection()
        writer.write(speaks.data_to_send())
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                for event in speaks.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded):
                        self._do(event.stream_id, speaks, writer)
                if writer.is_closing():
                    break
                writer.write(speaks.data_to_send())
                await writer.drain()
        self.ended.set()

    def _do(
        self, stream: int, speaks: h2.connection.H2Connection, writer: asyncio.StreamWriter
    ) -> None:
        self.seen += 1
        match self.plan(self.seen):
            case None:
                speaks.send_headers(stream, [(":status", "200")])
                speaks.send_data(stream, ANSWER, end_stream=True)
            case Reset(code=code, head=head):
                if head:
                    speaks.send_headers(stream, [(":status", "200")])
                    speaks.send_data(stream, b"{")
                    writer.write(speaks.data_to_send())
                speaks.reset_stream(stream, code)
            case Goaway(last=last, code=code):
                writer.write(speaks.data_to_send())
                frame = GoAwayFrame(stream_id=0, last_stream_id=last, error_code=code)
                writer.write(frame.serialize())
                writer.close()
            case Close(hard=hard):
                if hard:
                    sock = writer.get_extra_info("socket")
                    linger = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.close()


@asynccontextmanager
async def serving(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    http: Http = "2",
) -> AsyncIterator[UpstreamClient]:
    """Give a client of one try for a server that talks like this; on leaving every talk has ended."""
    talks: list[asyncio.Task[None]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.create_task(one(reader, writer)))

    async with await asyncio.start_server(taken, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        spec = EndpointSpec(
            name="one", base_url=f"http://127.0.0.1:{port}/v1", key=lambda: KEY, http=http
        )
        client = UpstreamClient(
            {"small": [Endpoint(spec, clock=SystemClock())]},
            policy=TryPolicy(tries=1),
            clock=SystemClock(),
            chance=lambda: 0.5,
            listener=Memory(),
        )
        yield client
        await client.aclose()
        await asyncio.gather(*talks)


async def call(client: UpstreamClient) -> Attempted:
    async with asyncio.timeout(10):
        return await client.attempt(job(), calls_left=1, may_call=always)


@pytest.mark.parametrize(
    "act",
    [Reset(code=ErrorCodes.REFUSED_STREAM), Goaway(last=0)],
    ids=["refused stream", "goaway below it"],
)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_call_that_the_server_did_not_take_is_repeated_at_once_and_counts_as_one(
    act: Act, times: int
) -> None:
    server = Server(lambda number: act if number <= times else None)
    async with serving(server.talk) as client:
        attempted = await call(client)
    assert isinstance(attempted.outcome, Completed)
    assert attempted.work.calls == 1
    assert server.seen == times + 1


@pytest.mark.parametrize(
    "act",
    [Reset(code=ErrorCodes.REFUSED_STREAM), Goaway(last=0)],
    ids=["refused stream", "goaway below it"],
)
async def test_a_call_that_is_never_taken_is_a_refusal_and_no_call_after_three(act: Act) -> None:
    server = Server(lambda _: act)
    async with serving(server.talk) as client:
        attempted = await call(client)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.RATE_LIMITED
    assert attempted.outcome.detail == Break.NOT_TAKEN.value
    assert (attempted.work.calls, attempted.work.refusals) == (0, 1)
    assert server.seen == THREE


@pytest.mark.parametrize(
    "act",
    [
        Reset(code=ErrorCodes.INTERNAL_ERROR),
        Reset(code=ErrorCodes.CANCEL),
        Reset(code=ErrorCodes.NO_ERROR),
        Reset(code=ErrorCodes.ENHANCE_YOUR_CALM),
        Reset(code=ErrorCodes.REFUSED_STREAM, head=True),
        # It may have been taken: which stream was the last is not told with an error.
        Goaway(last=0, code=ErrorCodes.ENHANCE_YOUR_CALM),
        Goaway(last=0, code=ErrorCodes.INTERNAL_ERROR),
        Goaway(last=1),
        Close(),
        Close(hard=True),
    ],
    ids=str,
)
async def test_a_call_that_may_have_been_worked_on_is_not_repeated_below_us_and_counts(
    act: Act,
) -> None:
    server = Server(lambda _: act)
    async with serving(server.talk) as client:
        attempted = await call(client)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.CONNECTION
    assert (attempted.work.calls, attempted.work.refusals) == (1, 0)
    assert server.seen == 1


async def test_a_connection_that_closes_while_it_is_idle_costs_no_call() -> None:
    server = Server(lambda _: None)
    async with serving(server.talk) as client:
        await call(client)
        server.writers[0].write_eof()
        await server.ended.wait()
        attempted = await call(client)
    assert isinstance(attempted.outcome, Completed)
    assert (server.seen, server.connections) == (2, 2)


@pytest.mark.parametrize("hard", [False, True])
async def test_over_http1_a_kept_connection_that_closes_on_a_request_breaks_it_and_counts(
    hard: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    """Whether the server worked on it is not known; over HTTP/1.1 nothing can tell (RFC 9110, 9.2.2)."""
    seen = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
                seen += 1
                if seen == 1:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n" + ANSWER)
                    continue
                if hard:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break

    async with serving(talk, http="1.1") as client:
        assert isinstance((await call(client)).outcome, Completed)
        attempted = await call(client)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.CONNECTION
    assert attempted.work == Work(calls=1, upstream=attempted.work.upstream)
    assert seen == 2
