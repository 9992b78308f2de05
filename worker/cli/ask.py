"""`warren result` and `warren cancel`: what became of a job, and calling one off; over AMQP, as its producer."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import click

from producer_sdk import CompletionClient, JobError, Reply, ReplyTimeout
from worker.cli.output import FAILED, as_json, fail, told
from worker.cli.seconds import seconds
from worker.cli.submit import print_reply, url_option

_Cancel: TypeAlias = Callable[..., Awaitable[bool]]

timeout_option = click.option(
    "--timeout",
    callback=seconds,
    metavar="SECONDS",
    default="30",
    show_default=True,
    help="Seconds until a worker must have answered.",
)


@click.command(
    short_help="Print what became of a job.",
    epilog="""\b
Examples:
  warren result 3f2a91c0d4e5f60718293a4b5c6d7e8f
  warren result 3f2a91c0d4e5f60718293a4b5c6d7e8f --json | jq .body
Exit status: 0 it completed and is printed, 1 it ended otherwise, has not ended or is not known (one
line says which), 2 usage, 3 broker not reachable.""",
)
@click.argument("job")
@timeout_option
@url_option
@as_json
def result(job: str, timeout: timedelta, url: str, as_json: bool) -> None:  # noqa: FBT001  # click passes by name
    """Print what became of a JOB, by its whole id, from what the workers keep.

    For when its reply went elsewhere or nobody was there to hear it. Only the tenant that submitted it is told. The
    workers keep results for their `store.result_ttl`.
    """

    async def ask() -> Reply:
        async with CompletionClient(url) as client:
            return await client.result(job, timeout=timeout)

    with told():
        try:
            reply = asyncio.run(ask())
        except (JobError, ReplyTimeout) as error:
            fail(str(error), FAILED)
    print_reply(reply, json_too=as_json)


@click.command(
    short_help="Call jobs off, running ones too.",
    epilog="""\b
Examples:
  warren cancel 3f2a91c0d4e5f60718293a4b5c6d7e8f
  warren cancel --key nightly-17 --key nightly-18     # also what no worker has received yet
Exit status: 0 all are cancelled, 1 one had ended before, is not known, or goes on because other jobs
wait for its call, 2 usage, 3 broker not reachable.""",
)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--key", "keys", multiple=True, help="A job by its idempotency key; repeat for more.")
@timeout_option
@url_option
def cancel(jobs: tuple[str, ...], keys: tuple[str, ...], timeout: timedelta, url: str) -> None:
    """Cancel each JOB, by its whole id or by --key: it is not called, or its running call is closed.

    Whoever waits for its reply hears that it was cancelled. Only the tenant that submitted a job may cancel it.
    """
    if not jobs and not keys:
        raise click.UsageError("name a JOB or a --key")

    async def ask() -> list[str]:
        async with CompletionClient(url) as client:
            ways: list[tuple[str, _Cancel]] = [(job, partial(client.cancel, job)) for job in jobs]
            ways += [
                (key, client.job(uuid.uuid4().hex, idempotency_key=key).cancel) for key in keys
            ]
            return await asyncio.gather(*(_cancelled(name, way, timeout) for name, way in ways))

    with told():
        problems = [problem for problem in asyncio.run(ask()) if problem]
    for problem in problems:
        click.echo(f"warren: {problem}", err=True)
    if problems:
        raise SystemExit(FAILED)


async def _cancelled(name: str, cancel: _Cancel, within: timedelta) -> str:
    """Cancel one job; give why it is not cancelled, or nothing."""
    try:
        if await cancel(timeout=within):
            return ""
    except (JobError, ReplyTimeout) as error:
        return str(error)
    return f"job {name} has ended otherwise; `warren result` tells how"
