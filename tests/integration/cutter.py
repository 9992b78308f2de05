"""A TCP proxy in front of a server: it can lose an answer, and the connection with it."""

import asyncio
from contextlib import suppress
from typing import Self


class Cutter:
    """Passes everything on, but for the answers that it is told to lose: the server has done what they tell."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.answers_to_lose = 0
        self.connections = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, upstream_writer}
        for passing in (
            self._ask(reader, upstream_writer),
            self._answer(upstream_reader, writer, upstream_writer),
        ):
            task = asyncio.create_task(passing)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamWriter,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                # A subscription's connection and a handshake's answers pass: an operation's answer is what is lost.
                if self.answers_to_lose and not data.startswith(b"+"):
                    self.answers_to_lose -= 1
                    break
                writer.write(data)
        upstream.close()
        writer.close()
