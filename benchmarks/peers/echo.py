"""The floor without the call: what AMQP alone costs. The reply is the request."""

import uvloop

from benchmarks.peers.asked import Asked, asked
from benchmarks.peers.bare import serve


async def main(wanted: Asked) -> None:
    """Serve, calling nobody."""

    async def call(body: bytes) -> bytes:
        return body

    await serve(wanted, call)


if __name__ == "__main__":
    uvloop.run(main(asked()))
