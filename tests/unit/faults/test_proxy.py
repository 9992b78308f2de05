"""The proxy harms a connection where it is told to, and no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Proxy, Way

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Behind:
    """What the proxy leads to: hands out the connections that reach it."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Ends] = asyncio.Queue()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.arrived.put((reader, writer))


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, Behind]]:
    behind = Behind()
    server = await asyncio.start_server(behind.accept, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, behind


@asynccontextmanager
async def connected(proxy: Proxy, behind: Behind) -> AsyncIterator[tuple[Ends, Ends]]:
    front = await asyncio.open_connection("127.0.0.1", proxy.port)
    back = await behind.arrived.get()
    try:
        yield front, back
    finally:
        for _, writer in (front, back):
            writer.transport.abort()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_it_passes_on_both_ways_and_the_end_of_one_side() -> None:
    async with proxied() as (proxy, behind), connected(proxy, behind) as (front, back):
        await send(front[1], b"up")
        assert await back[0].readexactly(2) == b"up"
        front[1].write_eof()
        assert await back[0].read() == b""
        await send(back[1], b"down")
        back[1].write_eof()
        assert await front[0].read() == b"down"


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("pieces", [[1000], [1, 2, 3, 400, 600], [300, 300, 300, 300]])
async def test_it_cuts_at_the_byte_it_was_told(way: Way, pieces: list[int]) -> None:
    async with proxied() as (proxy, behind), connected(proxy, behind) as (front, back):
        sender, receiver = (front, back) if way is Way.UP else (back, front)
        proxy.cut_after(700, way)
        for size in pieces:
            sender[1].write(b"x" * size)
        assert len(await receiver[0].read()) == 700
        with pytest.raises(ConnectionResetError):
            await sender[0].readexactly(1)


async def test_a_cut_resets_what_is_there_and_a_new_connection_passes() -> None:
    async with proxied() as (proxy, behind):
        async with connected(proxy, behind) as (front, back):
            await send(front[1], b"x")
            await back[0].readexactly(1)
            assert proxy.cut() == 1
            for reader, _ in (front, back):
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)
        async with connected(proxy, behind) as (front, back):
            await send(front[1], b"again")
            assert await back[0].readexactly(5) == b"again"


async def test_a_half_open_connection_tells_neither_side_even_that_the_other_is_gone() -> None:
    async with proxied() as (proxy, behind), connected(proxy, behind) as (front, back):
        await send(front[1], b"x")
        await back[0].readexactly(1)
        assert proxy.swallow() == 1
        assert proxy.connections == 0
        await send(front[1], b"lost")
        front[1].close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(back[0].read(1), 0.2)
        async with connected(proxy, behind) as (other, behind_it):
            await send(other[1], b"new")
            assert await behind_it[0].readexactly(3) == b"new"


async def test_each_piece_is_delayed() -> None:
    async with proxied() as (proxy, behind), connected(proxy, behind) as (front, back):
        proxy.delay_s = 0.2
        loop = asyncio.get_running_loop()
        began = loop.time()
        await send(front[1], b"late")
        await back[0].readexactly(4)
        assert loop.time() - began >= 0.2


@pytest.mark.parametrize("how", ["told", "nobody"])
async def test_a_refused_connection_is_reset(how: str) -> None:
    async with proxied() as (proxy, _):
        proxy.refusing = how == "told"
        proxy._target = proxy._target if how == "told" else 1
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.transport.abort()
