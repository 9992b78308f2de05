"""Measures HTTP engines against the simulator: speed, client CPU, cancel latency, losses at GOAWAY.

Rounds of the engines are interleaved and medians given, because a shared machine is never quiet. For
speed the simulator runs in a process of its own; "cpu" is the time of this process alone, all threads; "loop" is that
of the event loop's thread alone, which bounds what a worker can do.
"""

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx
import pyqwest
import uvloop
from pyqwest.httpx import AsyncPyqwestTransport

from simulator import Simulator
from worker.upstream import body as bodies
from worker.upstream.transport import PyqwestTransport
from worker.upstream.wire import Request

HEADERS: Final = {"content-type": "application/json", "authorization": "Bearer none"}
PACKAGES: Final = ("httpx", "httpcore", "h2", "pyqwest", "uvloop")

Post = Callable[[bytes], Awaitable[int]]
Opened = Callable[[AsyncExitStack, str], Awaitable[Post]]


def _body(number: int, plan: str = "") -> bytes:
    """Give about 1 KB of request, different for each number."""
    messages = [{"role": "user", "content": f"{number} " + "word " * 180}]
    return json.dumps({"model": "gpt-small", "user": plan, "messages": messages}).encode()


def _httpx_client(*, http2: bool, stock: bool = False) -> Opened:
    async def opened(stack: AsyncExitStack, url: str) -> Post:
        inner = _pool(stack, http2=http2) if stock else None
        client = httpx.AsyncClient(
            http1=not http2,
            http2=http2,
            trust_env=False,
            timeout=httpx.Timeout(120, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            transport=AsyncPyqwestTransport(inner) if inner else None,
        )
        await stack.enter_async_context(client)

        async def post(body: bytes) -> int:
            return (await client.post(url, content=body, headers=HEADERS)).status_code

        return post

    return opened


def _ours(*, http2: bool) -> Opened:
    async def opened(stack: AsyncExitStack, url: str) -> Post:
        transport = PyqwestTransport(http="2" if http2 else "1.1")
        stack.push_async_callback(transport.aclose)
        address = httpx.URL(url)

        async def post(body: bytes) -> int:
            request = httpx.Request("POST", address, headers=HEADERS, content=body)
            response = await transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
            return response.status_code

        return post

    return opened


def _lean(*, http2: bool) -> Opened:
    async def opened(stack: AsyncExitStack, url: str) -> Post:
        transport = PyqwestTransport(http="2" if http2 else "1.1")
        stack.push_async_callback(transport.aclose)
        headers = tuple(HEADERS.items())

        async def post(body: bytes) -> int:
            answer = await transport.send(Request(url=url, headers=headers, body=body))
            try:
                await bodies.read(answer, limit=1 << 20)
            finally:
                await answer.aclose()
            return answer.status

        return post

    return opened


def _httpx_over_ours(*, http2: bool) -> Opened:
    async def opened(stack: AsyncExitStack, url: str) -> Post:
        client = httpx.AsyncClient(
            trust_env=False, transport=PyqwestTransport(http="2" if http2 else "1.1")
        )
        await stack.enter_async_context(client)

        async def post(body: bytes) -> int:
            return (await client.post(url, content=body, headers=HEADERS)).status_code

        return post

    return opened


def _pyqwest_alone(*, http2: bool) -> Opened:
    async def opened(stack: AsyncExitStack, url: str) -> Post:
        client = pyqwest.Client(_pool(stack, http2=http2))

        async def post(body: bytes) -> int:
            return (await client.post(url, HEADERS, body)).status

        return post

    return opened


def _pool(stack: AsyncExitStack, *, http2: bool) -> pyqwest.HTTPTransport:
    spoken = pyqwest.HTTPVersion.HTTP2 if http2 else pyqwest.HTTPVersion.HTTP1
    pool = pyqwest.HTTPTransport(
        http_version=spoken, pool_max_idle_per_host=1000, follow_redirects=False, enable_otel=False
    )

    async def close() -> None:
        await pool.aclose()

    stack.push_async_callback(close)
    return pool


ENGINES: Final[dict[str, Opened]] = {
    "httpx, HTTP/1.1": _httpx_client(http2=False),
    "httpx, HTTP/2": _httpx_client(http2=True),
    "httpx over pyqwest's transport, HTTP/1.1": _httpx_client(http2=False, stock=True),
    "httpx over our transport, HTTP/1.1": _httpx_over_ours(http2=False),
    "httpx over our transport, HTTP/2": _httpx_over_ours(http2=True),
    "our transport with httpx's objects, HTTP/1.1": _ours(http2=False),
    "our transport with httpx's objects, HTTP/2": _ours(http2=True),
    "our transport without them, HTTP/1.1": _lean(http2=False),
    "our transport without them, HTTP/2": _lean(http2=True),
    "pyqwest alone, HTTP/1.1": _pyqwest_alone(http2=False),
    "pyqwest alone, HTTP/2": _pyqwest_alone(http2=True),
}


@contextmanager
def _simulator(latency_s: float) -> Iterator[str]:
    """Give the address of a simulator in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "port"
        command = [sys.executable, "-m", "simulator", "--port-file", str(file), "--die-with-parent"]
        command += ["--latency", f"fixed({latency_s})"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603  # the project's own command
            try:
                while not file.exists():
                    time.sleep(0.05)
                yield f"http://127.0.0.1:{file.read_text().strip()}/v1/chat/completions"
            finally:
                process.terminate()


async def _speed(opened: Opened, url: str, *, calls: int, at_once: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        post = await opened(stack, url)
        left = iter(range(calls))
        failed = 0

        async def work() -> None:
            nonlocal failed
            for number in left:
                try:
                    failed += await post(_body(number)) != httpx.codes.OK
                except (httpx.HTTPError, OSError, pyqwest.ReadError, pyqwest.WriteError):
                    failed += 1

        await asyncio.gather(*(post(_body(number)) for number in range(at_once)))  # connections
        began, cpu, loop = time.perf_counter(), time.process_time(), time.thread_time()
        await asyncio.gather(*(work() for _ in range(at_once)))
        loop_s, cpu_s = time.thread_time() - loop, time.process_time() - cpu
        seconds = time.perf_counter() - began
    return {
        "per_s": calls / seconds,
        "cpu_ms": 1000 * cpu_s / calls,
        "loop_ms": 1000 * loop_s / calls,
        "failed": failed,
    }


async def _cancel_ms(opened: Opened, times: int) -> float | None:
    """Give the median time from `cancel` until the server sees the call closed; None: it never does."""
    delays: list[float] = []
    async with Simulator() as sim, AsyncExitStack() as stack:
        post = await opened(stack, f"{sim.url}/v1/chat/completions")
        for number in range(1, times + 1):
            flight = asyncio.ensure_future(post(_body(number, "sim:hang")))
            await sim.wait_for(lambda calls, number=number: len(calls) == number)  # type: ignore[misc]  # bound now
            began = time.monotonic()
            flight.cancel()
            try:
                await sim.wait_for(lambda calls: calls[-1].over, timeout_s=5)
            except TimeoutError:
                return None
            finally:
                await asyncio.gather(flight, return_exceptions=True)
            delays.append(1000 * ((sim.calls[-1].ended_mono or 0) - began))
    return round(statistics.median(delays), 2)


async def _goaway(opened: Opened, calls: int) -> dict[str, int]:
    """Count failures at one GOAWAY per 100 streams, and how many of them the server had served."""
    room = asyncio.Semaphore(100)
    async with Simulator(goaway_every=100) as sim, AsyncExitStack() as stack:
        sim.latency({"default": "uniform(0.005,0.03)"})
        post = await opened(stack, f"{sim.url}/v1/chat/completions")

        async def one(number: int) -> int:
            async with room:
                return await post(_body(number))

        answers = await asyncio.gather(*map(one, range(calls)), return_exceptions=True)
        failed = sum(isinstance(answer, BaseException) for answer in answers)
        return {"calls": calls, "failed": failed, "reached_the_server": len(sim.calls)}


def _rounds(options: argparse.Namespace, engines: Mapping[str, Opened]) -> list[dict[str, object]]:
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with _simulator(options.latency_ms / 1000) as url:
        for _ in range(options.rounds):
            for at_once in options.in_flight:
                for name, opened in engines.items():
                    run = _speed(opened, url, calls=options.calls, at_once=at_once)
                    found.setdefault((name, at_once), []).append(uvloop.run(run))
    return [
        {"engine": name, "in_flight": at_once}
        | {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
        for (name, at_once), runs in found.items()
    ]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--calls", type=int, default=2000, help="per round (default: %(default)s)")
    parser.add_argument("--latency-ms", type=float, default=45.0, help="(default: %(default)s)")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[16, 200, 1000], metavar="N")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="PART", help="engines with a part of their name"
    )
    options = parser.parse_args()
    engines = {
        name: made for name, made in ENGINES.items() if any(part in name for part in options.only)
    }
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    speed = _rounds(options, engines)
    cancel = {name: uvloop.run(_cancel_ms(made, 30)) for name, made in engines.items()}
    http2 = {name: made for name, made in engines.items() if name.endswith("/2")}
    goaway = {name: uvloop.run(_goaway(made, 3000)) for name, made in http2.items()}
    report = {"versions": versions, "speed": speed, "cancel_ms": cancel, "goaway": goaway}
    if options.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
        return
    for row in speed:
        sys.stdout.write("  ".join(f"{key}={value}" for key, value in row.items()) + "\n")
    for part in ("cancel_ms", "goaway", "versions"):
        sys.stdout.write(f"{part}: {json.dumps(report[part])}\n")


if __name__ == "__main__":
    main()
