"""`warren batch run`: a file of requests through the queue, in OpenAI's Batch format."""

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path

import click

from producer_sdk import InvalidRequest, Request
from producer_sdk.wire import Dedupe, Lane
from worker.cli.batches.reading import survey
from worker.cli.batches.running import Plan
from worker.cli.batches.session import STREAM, End, Places, carry_out
from worker.cli.batches.writing import OutputRefused
from worker.cli.output import as_json, fail, told
from worker.cli.submit import PRIORITIES
from worker.clock import SystemClock


@click.group(no_args_is_help=True)
def batch() -> None:
    """Run a file of requests through the queue.

    The file is in OpenAI's Batch format, so what is written for that API runs here too, against any tier.
    """


@batch.command(
    short_help="Run every line of a file, write a result for each.",
    epilog="""\b
Examples:
  warren batch run in.jsonl -o out.jsonl
  warren batch run in.jsonl -o out.jsonl --tier budget --lane bulk --deadline 43200
  warren batch run in.jsonl -o mini.jsonl --model gpt-5-mini     # the same file, another model
  generate | warren batch run - -o - --name nightly-17 | load    # no files at all
Exit status: 0 every line was answered, 1 some failed or could not be read, or a file cannot be used,
2 usage, 3 broker not reachable, 130 stopped by SIGINT, 143 by SIGTERM. After 3, 130, 143 and a kill
the same command goes on where it stopped.""",
)
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, allow_dash=True))
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where results go; - is standard output."
)
@click.option(
    "--errors",
    metavar="FILE",
    help="Where lines without a result are told, anew in each run. By default beside the output: "
    "OUT.errors.jsonl; standard error if that is standard output.",
)
@click.option(
    "--tier", default="standard", show_default=True, help="The tier whose queue takes it."
)
@click.option(
    "--lane",
    type=click.Choice([lane.value for lane in Lane]),
    default=Lane.BULK.value,
    show_default=True,
    help="How soon the tier's queue is served.",
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES)),
    default="normal",
    show_default=True,
    help="How soon, within the lane.",
)
@click.option("--model", help="Ask for this model, whatever the lines say.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Until when an answer is wanted, from a line's submission; the tier's setting by default.",
)
@click.option(
    "--dedupe",
    type=click.Choice([dedupe.value for dedupe in Dedupe]),
    help="With whom requests may share an answer; the tier's setting by default.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Jobs that are submitted and unanswered. More than the workers' concurrency keeps them busy; "
    "few enough leaves room for others in the queue.",
)
@click.option(
    "--name",
    metavar="BATCH",
    help="Names the batch: a custom_id is paid for once in it. By default made of the input's content, "
    "the tier and --model; an input that is no file needs one.",
)
@click.option(
    "--url",
    envvar="WARREN_URL",
    required=True,
    help="The broker, as a producer: amqp[s]://user:password@host/vhost. From WARREN_URL.",
)
@as_json
def run(  # noqa: PLR0917  # one parameter for each option, by name
    source: str,
    output: str,
    errors: str | None,
    tier: str,
    lane: str,
    priority: str,
    model: str | None,
    deadline: float | None,
    dedupe: str | None,
    in_flight: int,
    name: str | None,
    url: str,
    as_json: bool,  # noqa: FBT001  # click passes options by name
) -> None:
    """Run every line of INPUT and write a result for each; - is standard input.

    Lines are JSON: custom_id, method (POST), url (such as /v1/chat/completions) and body. Results come as
    they are ready, not in order. A line that is no request is told in the error file with its number, and the
    rest goes on.

    Killed at any moment, the same command goes on: lines that have a result in the output are not run again,
    and what was submitted already is not paid for twice. Files of any size take about as much memory.
    """
    places = Places.of(source, output, errors)
    if as_json and output == STREAM:
        raise click.UsageError("--json prints to standard output: give -o a file")
    if not places.distinct:
        raise click.UsageError("INPUT, --output and --errors must be different files")
    template = Request(
        tier=tier,
        body=b"{}",
        lane=Lane(lane),
        priority=PRIORITIES[priority],
        dedupe=Dedupe(dedupe) if dedupe else None,
        deadline=_span(deadline),
    )
    _check(template)
    with told():
        try:
            name, total = _survey(source, name, about=f"{tier}\0{model or ''}")
            plan = Plan(name=name, template=template, model=model, in_flight=in_flight)
            end = carry_out(plan, places, url=url, total=total)
        except OutputRefused as error:
            fail(str(error))
        except OSError as error:
            fail(f"{error.filename or output}: {error.strerror}")
    _report(end, plan, places, json_too=as_json)
    raise SystemExit(end.status)


def _span(seconds: float | None) -> timedelta | None:
    try:
        return None if seconds is None else timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise click.UsageError("--deadline is no number of seconds that a clock can add") from None


def _check(template: Request) -> None:
    """Refuse options that every single line would be refused for."""
    try:
        template.submission("probe", reply_to=None, now=SystemClock().now())
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from None


def _survey(source: str, name: str | None, *, about: str) -> tuple[str, int | None]:
    """Give the batch's name and its number of lines, if that can be known beforehand.

    The name that nobody gave is the content's: the same file is the same batch wherever it lies, and another
    content never meets its keys. `about`: what else makes it another batch.
    """
    if not Path(source).is_file():
        if name is None:
            raise click.UsageError(
                "an input that is no file has no content to name it by: give --name"
            )
        return name, None
    found = survey(Path(source))
    digest = hashlib.sha256(os.fsencode(f"{found.digest}\0{about}")).hexdigest()[:16]
    return name or f"{Path(source).stem[:40]}-{digest}", found.lines


def _report(end: End, plan: Plan, places: Places, *, json_too: bool) -> None:
    """Say what this run did, and after a stop how to go on; for programs on standard output."""
    if json_too:
        click.echo(json.dumps(end.facts(plan, places), indent=2))
    tally = end.tally
    before = tally.answered_before + tally.failed_before
    click.echo(
        f"warren: batch {plan.name}: {tally.results:,} results ({tally.failed + tally.failed_before:,} failed, "
        f"{tally.cached:,} cached, {before:,} from before) in {places.output}, {tally.flawed:,} lines without one in "
        f"{places.errors}; {tally.price()}, {end.seconds:.1f} s",
        err=True,
    )
    if end.why is not None:
        again = "" if places.output == STREAM else "; the same command goes on from here"
        click.echo(f"warren: stopped before the end: {end.why}{again}", err=True)
