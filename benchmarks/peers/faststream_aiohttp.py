"""FastStream on uvloop, calls by one `aiohttp.ClientSession` with a connection for each call in flight."""

from typing import Any

import aiohttp
import uvloop

from benchmarks.peers.asked import HEADERS, TIMEOUT_S, Asked, asked
from benchmarks.peers.faststream_app import serve


async def main(wanted: Asked) -> None:
    """Serve with that session."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=wanted.in_flight),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers=HEADERS,
        raise_for_status=True,
    ) as session:

        async def call(body: dict[str, Any]) -> bytes:
            async with session.post(wanted.upstream, json=body) as response:
                answer: bytes = await response.read()
                return answer

        await serve(wanted, call)


if __name__ == "__main__":
    uvloop.run(main(asked()))
