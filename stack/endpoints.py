"""`./dev demo --endpoints`: one tier on three endpoints, one slow, one failing half the time, one limited.

Requests come at an even pace, and a live table shows how the workers spread them. The auditor has the last word.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.live import Live

from producer_sdk import CompletionClient, Job, JobError, Reply
from stack.auditor import Findings, audit
from stack.board import board
from stack.gauges import read_gauges
from stack.house import House
from stack.records import Journal, call_lines, json_lines, ledger_of
from stack.scene import Scene, digest
from stack.upstreams import Simulated

TIER: Final = "standard"
WEIGHTS: Final = {"slow": 1, "flaky": 1, "limited": 2}
REQUESTS_A_MINUTE: Final = 120
TOKENS_A_MINUTE: Final = 20_000
_JOBS: Final = 300
_A_SECOND: Final = 6
_IN_TIME: Final = timedelta(minutes=2)
_REFRESH_S: Final = 0.5
# Where nobody looks at a terminal, a table is a page of text.
_PRINT_EVERY_S: Final = 5.0
# Twelve columns, where there is no terminal to ask for its width.
_WIDTH: Final = 100
# Without it one would wonder why the slow one gets so much.
_PLAYED: Final = (
    f"{_A_SECOND} requests a second. limited answers in 0.4 s and may take {REQUESTS_A_MINUTE // 60} of them, flaky is as quick and "
    "fails every second call, slow takes 2.5 s and gets what is left over. p50 and p99 are of calls."
)
# Waits short enough for a demo; the defaults suit production.
_RETRIES: Final = """\
[retry]
max_attempts = 10
attempt_backoffs = ["2s", "2s", "4s"]
refusal_backoffs = ["2s", "4s"]
"""


def scene() -> Scene:
    """Give the three endpoints, and what is played on them."""
    options = {
        "slow": ("--latency", "fixed(2.5)"),
        "flaky": ("--latency", "fixed(0.4)", "--chaos", '{"503": 0.5, "seed": 7}'),
        "limited": (
            *("--latency", "fixed(0.4)"),
            *("--limit-requests", str(REQUESTS_A_MINUTE), "--limit-tokens", str(TOKENS_A_MINUTE)),
        ),
    }
    settings = {name: f"weight = {weight}\n" for name, weight in WEIGHTS.items()}
    settings["limited"] += limit_settings(requests=REQUESTS_A_MINUTE, tokens=TOKENS_A_MINUTE)
    return Scene(
        title="Warren: one tier on three endpoints: slow, flaky and limited",
        play=_play,
        simulators=tuple(
            Simulated(name=name, options=options[name], settings=settings[name]) for name in WEIGHTS
        ),
        config=_RETRIES,
        tiers={TIER: 16},
    )


def limit_settings(*, requests: int | None = None, tokens: int | None = None) -> str:
    """Give the lines that tell workers an endpoint's limits a minute."""
    limits = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    return "".join(f"{name} = {value}\n" for name, value in limits.items() if value)


async def _play(house: House, options: argparse.Namespace, console: Console) -> Findings:
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(_PLAYED)
    with Journal(house.folder / "producer.jsonl") as journal:
        async with (
            CompletionClient(house.url("producer"), name="demo") as client,
            _shown(house, console),
        ):
            heard = await _ask(client, options.limit or _JOBS, journal)
    _tell(heard, console)
    producer = json_lines(house.folder / "producer.jsonl")
    return audit(producer, call_lines(house.calls_logs.values()), ledger_of(house.config))


@asynccontextmanager
async def _shown(house: House, console: Console) -> AsyncIterator[None]:
    """Show the table while the body runs, in place on a terminal, else again and again; and once more at its end."""
    showing = asyncio.create_task(_show(house, console))
    try:
        yield
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing
    console.print(board(await asyncio.to_thread(read_gauges, house), WEIGHTS))


async def _show(house: House, console: Console) -> None:
    if not console.is_terminal:
        while True:
            await asyncio.sleep(_PRINT_EVERY_S)
            console.print(board(await asyncio.to_thread(read_gauges, house), WEIGHTS))
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            table = board(await asyncio.to_thread(read_gauges, house), WEIGHTS)
            live.update(table, refresh=True)
            await asyncio.sleep(_REFRESH_S)


async def _ask(client: CompletionClient, count: int, journal: Journal) -> list[Reply | JobError]:
    """Submit so many requests at an even pace, and hear them all."""
    began, run = time.monotonic(), f"{time.time_ns():x}"

    async def one(number: int) -> Reply | JobError:
        job = await client.submit(
            tier=TIER,
            model="gpt-5-mini",
            messages=[{"role": "user", "content": f"Question {number}: " + "how many? " * 20}],
            max_completion_tokens=100,
            deadline=_IN_TIME,
            idempotency_key=f"{run}-{number}",
        )
        journal.note(event="confirmed", submission=job.submission_id, job=job.id, wants_reply=True)
        return await _hear(job, journal)

    async with asyncio.TaskGroup() as running:
        tasks = []
        for number in range(count):
            tasks.append(running.create_task(one(number)))
            await asyncio.sleep(max(0.0, began + (number + 1) / _A_SECOND - time.monotonic()))
    return [task.result() for task in tasks]


async def _hear(job: Job, journal: Journal) -> Reply | JobError:
    try:
        heard: Reply | JobError = await job.reply(timeout=_IN_TIME)
    except JobError as error:
        heard = error
    journal.note(
        event="reply",
        submission=job.submission_id,
        job=job.id,
        run=heard.run,
        sha256=digest(heard),
    )
    return heard


def _tell(heard: Sequence[Reply | JobError], console: Console) -> None:
    replies = [each for each in heard if isinstance(each, Reply)]
    again = sum(reply.tries > 1 for reply in replies)
    console.print(
        f"{len(heard)} requests, {len(replies)} answered, {again} after more than one call; "
        f"{len(heard) - len(replies)} failed"
    )
