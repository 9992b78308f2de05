"""`warren status` and `warren explain`."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import click

from worker.broker.management import QueueStatus
from worker.cli.configured import archive_of, config_option, management_of, management_option
from worker.cli.output import as_json, dollars, fail, plain, show, told
from worker.clock import SystemClock
from worker.core.model import State
from worker.errors import WarrenError

_JOBS, _DEAD = "warren.jobs.", "warren.dead."


@click.command(
    short_help="Show the queues and how many jobs are open.",
    epilog="""\b
Examples:
  warren status
  warren status --json | jq '.queues[] | select(.kind == "dead" and .ready > 0)'
Exit status: 0 shown, 1 the configuration has problems, 2 usage, 3 the management API cannot be reached.""",
)
@config_option
@management_option
@as_json
def status(config: str | None, management_url: str | None, as_json: bool) -> None:  # noqa: FBT001  # click passes by name
    """Show the queues: what is ready, in flight and dead, the oldest message, the consumers.

    The numbers are the broker's last sample, a few seconds old. `jobs` are the tiers' queues, `park` where
    jobs wait out a retry, `dead` the dead letters, `quarantine` what could not be read.
    """
    now = SystemClock().now()
    with told():
        queues = management_of(config, management_url).queues()
        rows = [_queue(queue, now) for queue in queues if _kind(queue.name) != "reply"]
        try:
            open_jobs = dict(archive_of(config).counts().open_jobs)
        except WarrenError as error:
            # An embedded ledger is the workers' host's; the broker can be looked at from anywhere.
            click.echo(f"warren: without the ledger: {error}", err=True)
            open_jobs = {}
    columns = ("kind", "name", "ready", "in_flight", "oldest", "consumers")
    if as_json:
        click.echo(json.dumps({"queues": rows, "open_jobs": open_jobs}, default=plain, indent=2))
        return
    show(rows, columns=columns, json_too=False)
    for tier, count in sorted(open_jobs.items()):
        click.echo(f"open jobs of {tier} in the ledger: {count}")


def _kind(name: str) -> str:
    return name.split(".")[1]


def _queue(queue: QueueStatus, now: datetime) -> dict[str, object]:
    oldest = None
    if queue.head_at is not None:
        oldest = now - datetime.fromtimestamp(queue.head_at, UTC)
    return {
        "kind": _kind(queue.name),
        "name": queue.name,
        "ready": queue.ready,
        "in_flight": queue.unacked,
        "oldest": oldest,
        "consumers": queue.consumers,
    }


@click.command(
    short_help="Tell where a job stands and how it came there.",
    epilog="""\b
Examples:
  warren explain 3f2a91
  warren explain 3f2a91 --json
Exit status: 0 shown, 1 the ledger knows no such job, or the configuration has problems, 2 usage (also an id that
is too short or fits several jobs), 3 the ledger cannot be read.""",
)
@click.argument("job")
@config_option
@as_json
def explain(job: str, config: str | None, as_json: bool) -> None:  # noqa: FBT001  # click passes by name
    """Tell where a job stands and how it came there: its time line from the ledger.

    JOB is the job's id, or its first 6 or more digits. No prompt and no completion is shown.
    """
    with told():
        found = archive_of(config).explain(job)
    if found is None:
        fail(
            f"the ledger knows no job {job}: no worker on this store has received it, or it has expired"
        )
    if as_json:
        click.echo(json.dumps(asdict(found), default=plain, indent=2))
        return
    click.echo(
        f"job {found.job_id} of {found.tenant}, tier {found.tier}, {found.path} {found.model}"
    )
    tally = found.tally
    click.echo(
        f"{found.state.value}, run {found.run}, generation {found.generation}; attempts {tally.attempts}, "
        f"calls {tally.calls}, refused {tally.refusals}, snoozed {tally.snoozes}"
    )
    click.echo(
        f"received {plain(found.received_at, brief=True)}, deadline {plain(found.deadline, brief=True)}"
    )
    if found.state is State.COMPLETED:
        click.echo(dollars(found.cost))
    if tally.calls:
        rest = f", and {tally.unpriced} of no known cost" if tally.unpriced else ""
        click.echo(f"all calls of the run ${tally.spent:f}{rest}")
    if found.claimed_by is not None:
        click.echo(f"claimed by {found.claimed_by}")
    for submission, heard in found.submissions:
        route = submission.reply_to or "no reply wanted"
        click.echo(
            f"submission {submission.id} ({route}): {'has heard' if heard else 'has not heard'}"
        )
    columns = ("at", "run", "attempt", "what", "kind", "status", "endpoint", "calls", "upstream_ms")
    show([asdict(entry) for entry in found.history], columns=columns, json_too=False)
