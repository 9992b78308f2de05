"""A TCP proxy on loopback that cuts, swallows, delays and refuses: what a network does to a connection.

    async with Proxy(broker.amqp_port) as proxy:
        ...                              # connect to 127.0.0.1:proxy.port
        proxy.cut()                      # every connection that is there is reset now
        proxy.cut_after(1000, Way.UP)    # as soon as 1,000 more bytes have gone up on one of them
        proxy.swallow()                  # they stay open, and nothing passes any more
        proxy.delay_s = 0.2              # each piece waits
        proxy.refusing = True            # new connections are reset at once

It reads no protocol. "Up" is from whoever connected to the port behind.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024
_LOOK_AGAIN_S = 0.1
# Closing such a socket sends RST.
_AT_ONCE = struct.pack("ii", 1, 0)


class Way(Enum):
    """A direction of bytes."""

    UP = auto()
    DOWN = auto()


class Proxy:
    """Passes connections to a port of this machine on to another, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pipes: set[Pipe] = set()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay_s = 0.0
        self.refusing = False
        self.made = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        while self._tasks:
            self.cut()  # also what was accepted only now
            await asyncio.wait(self._tasks, timeout=_LOOK_AGAIN_S)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """How many connections are open and let something pass."""
        return sum(not pipe.swallowing for pipe in self._pipes)

    def cut(self) -> int:
        """Reset every connection that is there; gives how many there were."""
        pipes = tuple(self._pipes)
        for pipe in pipes:
            pipe.reset()
        return len(pipes)

    def cut_after(self, count: int, way: Way) -> None:
        """Cut every connection that is there as soon as `count` more bytes have gone this way on it.

        Whoever receives gets exactly these and then the end; whoever sent is reset.
        """
        for pipe in self._pipes:
            pipe.left[way] = count

    def swallow(self) -> int:
        """Let nothing pass on the connections that are there, and tell neither side; gives how many there were."""
        pipes = [pipe for pipe in self._pipes if not pipe.swallowing]
        for pipe in pipes:
            pipe.swallowing = True
        return len(pipes)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.refusing:
            _reset(writer)
            return
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        self.made += 1
        pipe = Pipe(self, up=(reader, behind[1]), down=(behind[0], writer))
        self._pipes.add(pipe)
        try:
            await pipe.run()
        finally:
            self._pipes.discard(pipe)


class Pipe:
    """One connection with its two sides. `left` is how many bytes may still go each way before the cut."""

    def __init__(
        self,
        proxy: Proxy,
        *,
        up: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        down: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._ways = {Way.UP: up, Way.DOWN: down}
        self.left: dict[Way, int] = {}
        self.swallowing = False
        self._over = False
        self._ended = asyncio.Event()
        for _, writer in self._ways.values():
            writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until all has left

    async def run(self) -> None:
        """Pass on until both sides have ended, one is lost, or it is reset."""
        ended = asyncio.create_task(self._ended.wait())
        pumps = asyncio.gather(*(self._pump(way) for way in Way))
        try:
            await asyncio.wait((ended, pumps), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (ended, pumps):
                each.cancel()
            await asyncio.gather(ended, pumps, return_exceptions=True)
            self.reset()

    def reset(self) -> None:
        """Send RST to both sides."""
        self._ended.set()
        for _, writer in self._ways.values():
            _reset(writer)

    async def _pump(self, way: Way) -> None:
        reader, writer = self._ways[way]
        while data := await reader.read(_CHUNK):
            if self._proxy.delay_s:
                await asyncio.sleep(self._proxy.delay_s)
            if self.swallowing:
                continue
            last = way in self.left and len(data) >= self.left[way]
            if way in self.left:
                data = data[: self.left[way]]
                self.left[way] -= len(data)
            writer.write(data)
            await writer.drain()
            if last:
                self._over = True
                writer.close()
                raise ConnectionResetError("cut where it was told")
        if self.swallowing:
            await asyncio.Event().wait()  # the other side is not told; only the proxy's end ends it
        if not self._over:  # else it was closed here, which is no end to pass on
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST; one that is closed already stays as it is."""
    if writer.is_closing():
        return
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
