"""`./dev demo`: the main job, from an empty folder to `lost 0`, in about a minute.

A private broker, the simulator and two workers; the requests of `examples/` go through the queue; some are
answered from the cache, some fail for a while, some for good. The dead letters are replayed after the
simulator is healed, and an auditor holds all logs against each other.
"""

import argparse
import asyncio
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producer_sdk import CompletionClient, JobError, Reply
from stack import endpoints, stores
from stack.arguments import positive
from stack.auditor import Findings, audit
from stack.errors import StackError
from stack.house import ROOT, House, lower, raise_house
from stack.records import Journal, call_lines, json_lines, ledger_of
from stack.report import TIERS, Ticket, table
from stack.scene import Scene, digest, verdict
from stack.upstreams import Simulated, Upstream, control

_EXAMPLES = ROOT / "examples"
_FOLDER = ROOT / ".warren/demo"
_IN_TIME = timedelta(minutes=2)
# Nothing is in flight at its end, and given up it throws everything away.
_STOP_S = 5
_SIMULATOR = ("--script", str(_EXAMPLES / "faults.json"), "--latency", "lognormal(0.8,0.5)")
# Waits short enough for a demo; the defaults suit production.
_RETRIES = """\
[retry]
max_attempts = 3
attempt_backoffs = ["2s", "4s"]
"""


def main(arguments: list[str]) -> int:
    """Run the demo; 0 when nothing was lost."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    scene = endpoints.scene() if options.endpoints else _scene()
    lower(_FOLDER, tell=console.print, within_s=_STOP_S)  # an earlier demo that was killed
    shutil.rmtree(_FOLDER, ignore_errors=True)
    console.rule(scene.title)

    def tell(text: str) -> None:
        console.print(f"  {text}", style="dim")

    try:
        house = raise_house(
            _FOLDER,
            workers=2,
            tell=tell,
            upstream=scene.upstream,
            simulators=scene.simulators,
            config=scene.config,
            tiers=scene.tiers,
            store=options.store,
        )
        findings = asyncio.run(scene.play(house, options, console))
    finally:
        lower(_FOLDER, tell=tell, within_s=_STOP_S)
    return verdict(findings, console, _FOLDER)


def _scene() -> Scene:
    return Scene(
        title="Warren: a request goes through the queue to an LLM and back",
        play=_run,
        simulators=(Simulated(options=_SIMULATOR),),
        config=_RETRIES,
        upstream=_real_upstream(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.split("\n\n")[1])
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N requests per tier"
    )
    parser.add_argument(
        "--endpoints",
        action="store_true",
        help="instead of the examples: one tier on three endpoints, slow, failing and limited, with a live table "
        "(--limit: so many requests)",
    )
    parser.add_argument(
        "--model", help="ask for this model instead of the examples' (with OPENAI_BASE_URL)"
    )
    stores.option(parser)
    return parser


def _real_upstream() -> Upstream | None:
    """Give the API that the environment names; None: the simulator serves."""
    base_url = os.environ.get("OPENAI_BASE_URL")
    if not base_url:
        return None
    return Upstream(
        base_url=base_url.rstrip("/"), key=os.environ.get("OPENAI_API_KEY"), simulated=False
    )


async def _run(house: House, options: argparse.Namespace, console: Console) -> Findings:
    with Journal(house.folder / "producer.jsonl") as journal:
        async with CompletionClient(house.url("producer"), name="demo") as client:
            tickets = await _submit_all(client, options, journal)
            await _hear_all(tickets, journal, console, "answering")
            console.print(table(tickets))
            dead = [ticket for ticket in tickets if isinstance(ticket.heard[-1], JobError)]
            if dead and house.simulated:
                await _replay(house, dead, journal, console)
    simulator = call_lines(house.calls_logs.values())
    producer = json_lines(house.folder / "producer.jsonl")
    ledger = ledger_of(house.config)
    recorded = sum(entry.calls for job in ledger for entry in job.history)
    console.print(f"the ledger recorded {recorded} upstream calls", style="dim")
    return audit(producer, simulator, ledger)


async def _submit_all(
    client: CompletionClient, options: argparse.Namespace, journal: Journal
) -> list[Ticket]:
    """Submit every example; each is in the journal as soon as the broker has confirmed it."""
    began = f"{time.time_ns():x}"

    async def submit(tier: str, line: dict[str, Any]) -> Ticket:
        body = line["body"] | ({"model": options.model} if options.model else {})
        job = await client.submit(
            path=line["url"],
            body=body,
            tier=tier,
            deadline=_IN_TIME,
            idempotency_key=f"{began}-{line['custom_id']}",
        )
        journal.note(event="confirmed", submission=job.submission_id, job=job.id, wants_reply=True)
        return Ticket(tier=tier, job=job)

    lines = [(tier, line) for tier in TIERS for line in _examples(tier, options.limit)]
    return list(await asyncio.gather(*(submit(tier, line) for tier, line in lines)))


def _examples(tier: str, limit: int | None) -> Iterator[dict[str, Any]]:
    yield from list(json_lines(_EXAMPLES / f"{tier}.jsonl"))[:limit]


async def _hear_all(
    tickets: Sequence[Ticket],
    journal: Journal,
    console: Console,
    what: str,
) -> None:
    """Wait until every ticket has heard once more, with a bar per tier."""
    columns = (
        TextColumn(f"  {what} {{task.description:9}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {
            tier: progress.add_task(tier, total=sum(each.tier == tier for each in tickets))
            for tier in TIERS
            if any(each.tier == tier for each in tickets)
        }

        async def hear(ticket: Ticket) -> None:
            known = ticket.heard[-1].run if ticket.heard else 0
            try:
                heard: Reply | JobError = await ticket.job.next_reply(
                    after_run=known, timeout=_IN_TIME
                )
            except JobError as error:
                heard = error
            ticket.heard.append(heard)
            journal.note(
                event="reply",
                submission=ticket.job.submission_id,
                job=ticket.job.id,
                run=heard.run,
                sha256=digest(heard),
            )
            progress.advance(bars[ticket.tier])

        await asyncio.gather(*(hear(ticket) for ticket in tickets))


async def _replay(house: House, dead: Sequence[Ticket], journal: Journal, console: Console) -> None:
    """Show the dead letters, heal the simulator, replay them as an operator would, and hear again."""
    await _warren(house, console, "dead", "list")
    console.print("  healing the simulator", style="dim")
    heal = urllib.request.Request(  # noqa: S310  # our own simulator
        control(house.upstream, "heal"), method="POST"
    )
    await asyncio.to_thread(lambda: urllib.request.urlopen(heal, timeout=10).close())  # noqa: S310  # see above
    await _warren(house, console, "dead", "replay", "--all", "--yes")
    await _hear_all(dead, journal, console, "replaying")
    console.print(table(dead))


async def _warren(house: House, console: Console, *arguments: str) -> None:
    """Run the command `warren` as an operator would type it."""
    console.print(f"$ warren {' '.join(arguments)}", style="bold")
    command = [sys.executable, "-m", "worker.cli.main", *arguments]
    environment = {**os.environ, **house.environment()}
    # In a session of its own: a Ctrl-C is the demo's to tell, and ends the command without its traceback.
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, start_new_session=True
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if status:
        raise StackError(f"`warren {' '.join(arguments)}` ended with status {status}")
