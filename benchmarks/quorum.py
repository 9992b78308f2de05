"""What quorum queues cost: how long a publish waits for its confirm, and how many are confirmed in a second.

    .venv/bin/python benchmarks/quorum.py
    .venv/bin/python benchmarks/quorum.py --release trixie --messages 2000 --json

Three nodes share this machine, so the figures are an upper bound of the cost, but for the network between real nodes.
"""

import argparse
import asyncio
import secrets
import time
from pathlib import Path
from statistics import median

import aiormq
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from benchmarks.folder import measured
from stack.broker import find_server
from stack.cluster import open_cluster
from stack.credentials import write_definitions

_ROOT = Path(__file__).parent.parent
_DEFINITIONS = _ROOT / "rabbitmq/definitions-quorum.json"
_BODY = b"x" * 1024
_AT_ONCE = 200


def main() -> int:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--release", default="sid", help="a Debian release: sid (4.3), trixie (4.0)"
    )
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    measured("quorum", _measure, parser.parse_args())
    return 0


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    server = await asyncio.to_thread(
        find_server, _ROOT / ".warren/servers", release=options.release
    )
    password = secrets.token_hex(16)
    write_definitions(_DEFINITIONS, folder / "definitions.json", {"admin": password})
    found: dict[str, float] = {}
    with open_cluster(server, folder / "nodes", definitions=folder / "definitions.json") as cluster:
        port = cluster.nodes[0].amqp_port
        connection = await aiormq.connect(f"amqp://admin:{password}@127.0.0.1:{port}/warren")
        channel = await connection.channel()
        for kind in ("classic", "quorum"):
            queue = f"warren.benchmark.{kind}"
            await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
            await channel.queue_bind(queue, "warren.park", routing_key=kind)
            found |= await _publish(channel, kind, options.messages)
        await connection.close()
    return found


async def _publish(channel: AbstractChannel, key: str, count: int) -> dict[str, float]:
    waits: list[float] = []
    room = asyncio.Semaphore(_AT_ONCE)

    async def one() -> None:
        async with room:
            began = time.perf_counter()
            await channel.basic_publish(
                _BODY,
                exchange="warren.park",
                routing_key=key,
                properties=Basic.Properties(delivery_mode=2),
            )
            waits.append(time.perf_counter() - began)

    for _ in range(count // 10):
        await one()
    alone_ms = median(waits) * 1000
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return {
        f"{key}, one by one, ms to the confirm (median)": round(alone_ms, 2),
        f"{key}, {_AT_ONCE} at once, confirmed/s": round(count / (time.perf_counter() - began)),
    }


if __name__ == "__main__":
    main()
