"""`warren submit`: one prompt through the queue and back."""

import asyncio
import json
import sys
from dataclasses import replace
from datetime import timedelta

import click

from producer_sdk import (
    CompletionClient,
    JobError,
    Reply,
    ReplyTimeout,
    Request,
    UnexpectedBody,
)
from producer_sdk.wire import Dedupe, Lane, Priority
from worker.cli.output import FAILED, as_json, dollars, fail, plain, told
from worker.cli.seconds import seconds
from worker.clock import SystemClock

url_option = click.option(
    "--url",
    envvar="WARREN_URL",
    required=True,
    help="The broker, as a producer: amqp[s]://user:password@host/vhost. From WARREN_URL.",
)

PRIORITIES = {priority.name.lower(): priority for priority in Priority}


@click.command(
    epilog="""\b
Examples:
  warren submit "Say hello in three languages"
  warren submit --tier premium --priority high --model gpt-5 "Why is the sky blue?"
  echo "Summarise: ..." | warren submit -          # the prompt from standard input
  warren submit --no-wait --key nightly-17 "..."    # returns when the broker has confirmed
Exit status: 0 answered, or stored with --no-wait, 1 the job failed, nothing came in time or no queue took it,
2 usage (also a tier, key or URL that cannot be one), 3 the broker is not reachable or refuses the user."""
)
@click.argument("prompt")
@click.option(
    "--tier", default="standard", show_default=True, help="The tier whose queue takes it."
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES)),
    default="normal",
    show_default=True,
    help="How soon, within the tier.",
)
@click.option(
    "--lane",
    type=click.Choice([lane.value for lane in Lane]),
    default=Lane.INTERACTIVE.value,
    show_default=True,
    help="Now, or when there is room and time.",
)
@click.option("--model", default="gpt-5-mini", show_default=True, help="The model to ask for.")
@click.option("--key", help="Idempotency key: the same key never pays twice.")
@click.option(
    "--dedupe",
    type=click.Choice([dedupe.value for dedupe in Dedupe]),
    help="With whom it may share an answer; the tier's setting by default.",
)
@click.option(
    "--timeout",
    callback=seconds,
    metavar="SECONDS",
    default="120",
    show_default=True,
    help="Seconds until the answer is of no use; the job's deadline.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Wait for the answer, or only for the confirm."
)
@url_option
@as_json
def submit(  # noqa: PLR0917  # one parameter for each option, by name
    prompt: str,
    tier: str,
    priority: str,
    lane: str,
    model: str,
    key: str | None,
    dedupe: str | None,
    timeout: timedelta,
    wait: bool,  # noqa: FBT001  # click passes options by name
    url: str,
    as_json: bool,  # noqa: FBT001  # see above
) -> None:
    """Submit one PROMPT, wait for the answer and print it.

    The prompt goes through the tier's queue like any other request: it is kept by the broker, answered
    by a worker, and never paid for twice under one --key.
    """
    text = _standard_input() if prompt == "-" else prompt
    request = replace(
        Request.chat(tier=tier, model=model, messages=[{"role": "user", "content": text}]),
        priority=PRIORITIES[priority],
        lane=Lane(lane),
        idempotency_key=key,
        dedupe=Dedupe(dedupe) if dedupe else None,
        deadline=timeout,
    )
    with told():
        # A request that breaks a rule is refused whether or not there is a broker.
        request.submission("check", reply_to=None, now=SystemClock().now())
        try:
            answer = asyncio.run(_submit(url, request, wait=wait))
        except (JobError, ReplyTimeout) as error:
            fail(str(error), FAILED)
    if isinstance(answer, str):
        click.echo(json.dumps({"job_id": answer}) if as_json else answer)
    else:
        print_reply(answer, json_too=as_json)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("the prompt on standard input is not UTF-8 text") from None


async def _submit(url: str, request: Request, *, wait: bool) -> Reply | str:
    """Give the reply, or without `wait` the job's id."""
    async with CompletionClient(url) as client:
        job = await client.submit_request(request, reply=wait)
        return await job.reply() if wait else job.id


def print_reply(answer: Reply, *, json_too: bool) -> None:
    """Print an answer: its text, with a line about it on standard error, or all of it as JSON."""
    if json_too:
        usage = answer.usage
        click.echo(
            json.dumps(
                {
                    "job_id": answer.job_id,
                    "body": answer.json(),
                    "model": answer.model,
                    "endpoint": answer.endpoint,
                    "cached": answer.cached,
                    "attempts": answer.attempts,
                    "total_tokens": usage.total_tokens if usage else None,
                    "cost": answer.cost,
                    "waited_s": answer.timings.waited.total_seconds(),
                    "total_s": answer.timings.total.total_seconds(),
                },
                default=plain,
                indent=2,
            )
        )
        return
    try:
        click.echo(answer.text)
    except UnexpectedBody:
        click.echo(json.dumps(answer.json(), indent=2))
    click.echo(
        f"[{answer.model} at {answer.endpoint}, {answer.timings.total.total_seconds():.1f} s, "
        f"{dollars(answer.cost)}, attempt {answer.attempts}"
        f"{', from cache' if answer.cached else ''}, job {answer.job_id}]",
        err=True,
    )
