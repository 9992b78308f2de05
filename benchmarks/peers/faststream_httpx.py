"""FastStream on uvloop, calls by one `httpx.AsyncClient` with a connection for each call in flight."""

from typing import Any

import httpx
import uvloop

from benchmarks.peers.asked import HEADERS, TIMEOUT_S, Asked, asked
from benchmarks.peers.faststream_app import serve


async def main(wanted: Asked) -> None:
    """Serve with that client."""
    limits = httpx.Limits(
        max_connections=wanted.in_flight, max_keepalive_connections=wanted.in_flight
    )
    async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, headers=HEADERS) as client:

        async def call(body: dict[str, Any]) -> bytes:
            response = await client.post(wanted.upstream, json=body)
            return response.raise_for_status().content

        await serve(wanted, call)


if __name__ == "__main__":
    uvloop.run(main(asked()))
