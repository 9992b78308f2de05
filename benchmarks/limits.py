"""Do two workers keep an upstream's limit, and do they use it?

    .venv/bin/python benchmarks/limits.py                             # 600 requests a minute, for 3 minutes
    .venv/bin/python benchmarks/limits.py --tokens --store redis      # 60,000 tokens a minute, counted in a Redis
    .venv/bin/python benchmarks/limits.py --client plain --minutes 0.5

Two worker processes with one key have more jobs than the limit lets through. The simulator counts for itself, in an
exact sliding window, and refuses what is above the limit. Of all calls fewer than 1 % may be refused, and in each minute
more than 95 % of what is allowed must be used. The status is 1 if not. `--client plain` checks the simulator instead: a
client that sends at an even pace, just below the limit, must be refused nothing.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from benchmarks.bounds import Report, conclude
from benchmarks.folder import in_folder
from benchmarks.limited import Limit, judge
from producer_sdk import CompletionClient, Request
from simulator import Latencies, Limits, Simulator, parse_latencies
from stack import stores
from stack.callbook import read_calls
from stack.endpoints import limit_settings
from stack.gauges import read_gauges
from stack.house import House, raise_house
from stack.records import call_lines, json_lines
from stack.upstreams import Simulated

TOKENS_A_CALL: Final = 78
"""About what a call of this benchmark uses; it asks for up to a hundred of them as completion."""

_LATENCY: Final = "fixed(0.4)"
# More than the limit lets through, so that it is the limit that bounds.
_SATURATION: Final = 1.5
_SLACK: Final = 1.02
_LOOK_EVERY_S: Final = 0.2


def main() -> int:
    """Run the benchmark and print its figures; 1: a bound was broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--limit", type=int, help="a minute; 600 requests or 60,000 tokens if not given"
    )
    parser.add_argument("--tokens", action="store_true", help="limit tokens instead of requests")
    parser.add_argument("--client", choices=("workers", "plain"), default="workers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and bounds here")
    stores.option(parser)
    options = parser.parse_args()
    limit = Limit(
        per_minute=options.limit or (60_000 if options.tokens else 600), tokens=options.tokens
    )
    options.limit = limit
    measure = _workers if options.client == "workers" else _plain
    return conclude(in_folder("limits", measure, options), options.json)


async def _workers(folder: Path, options: argparse.Namespace) -> Report:
    limit: Limit = options.limit
    name = "tokens" if limit.tokens else "requests"
    house = await asyncio.to_thread(
        raise_house,
        folder,
        workers=2,
        tell=_tell,
        simulators=(
            Simulated(
                options=("--latency", _LATENCY, f"--limit-{name}", str(limit.per_minute)),
                settings=limit_settings(**{name: limit.per_minute}),
            ),
        ),
        tiers={"standard": 32},
        store=options.store,
    )
    async with CompletionClient(house.url("producer"), name="bench") as client:
        requests = list(_requests(_calls(limit, max(options.minutes, 1) * _SATURATION)))
        _tell(f"submitting {len(requests)} jobs")
        sending = asyncio.create_task(_submit(client, requests))
        await _first_call(house)
        _tell(f"measuring for {options.minutes:g} minutes")
        await asyncio.sleep(options.minutes * 60 + 1)
        await sending
    calls = read_calls(call_lines(house.calls_logs.values()))
    return judge(calls, limit, seconds=options.minutes * 60)


async def _submit(client: CompletionClient, requests: list[Request]) -> None:
    """Submit all; who hears the answers is nobody."""
    async for _ in client.submit_many(requests):
        pass


async def _first_call(house: House) -> None:
    async with asyncio.timeout(60):
        while not any(each.served.in_flight for each in read_gauges(house).values()):  # noqa: ASYNC110  # only the simulator knows
            await asyncio.sleep(_LOOK_EVERY_S)


async def _plain(folder: Path, options: argparse.Namespace) -> Report:
    """Send at an even pace just below the limit, by what calls use on average."""
    limit: Limit = options.limit
    limits = Limits(**{"tokens" if limit.tokens else "requests": limit.per_minute})
    log = folder / "calls.jsonl"
    count = _calls(limit, options.minutes)
    every_s = options.minutes * 60 / count * _SLACK
    async with (
        Simulator(limits=limits, latencies=_latencies(), log=log, keep_calls=False) as simulator,
        httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client,
        asyncio.TaskGroup() as calling,
    ):
        began = time.monotonic()
        for number, request in enumerate(_requests(count)):
            call = client.post(
                request.path,
                json=request.body,
                headers={
                    "authorization": "Bearer plain",
                    "x-client-request-id": f"{number}.1.0.1",
                },
            )
            calling.create_task(call)
            await asyncio.sleep(max(0.0, began + (number + 1) * every_s - time.monotonic()))
    return judge(read_calls(json_lines(log)), limit, seconds=options.minutes * 60)


def _latencies() -> Latencies:
    return parse_latencies({"default": _LATENCY})


def _calls(limit: Limit, minutes: float) -> int:
    """Give how many calls use the limit up in so many minutes."""
    a_minute = limit.per_minute / TOKENS_A_CALL if limit.tokens else limit.per_minute
    return round(a_minute * minutes)


def _requests(count: int) -> Iterator[Request]:
    began = f"{time.time_ns():x}"
    for number in range(count):
        yield Request.chat(
            tier="standard",
            model="gpt-5-mini",
            messages=[{"role": "user", "content": f"{began} {number}: " + "lorem ipsum " * 10}],
            max_completion_tokens=100,
        )


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
