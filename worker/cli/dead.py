"""`warren dead`: see the dead letters, and put them back."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.broker.address import Address
from worker.broker.connection import Link
from worker.broker.publisher import Publisher
from worker.broker.replay import Progress as Replayed
from worker.broker.replay import Replay
from worker.broker.trouble import Troubles
from worker.cli.configured import archive_of, config_option, settings_of
from worker.cli.output import FAILED, as_json, fail, show, told
from worker.cli.seconds import seconds
from worker.clock import SystemClock
from worker.core.events import Event, Trouble
from worker.core.kinds import Kind
from worker.core.letters import Letter, Selection
from worker.errors import SettingsError

Command = TypeVar("Command", bound=Callable[..., object])

_NONE = "no dead letter is selected; `warren dead list` shows what there is"
_COLUMNS = ("job_id", "tier", "kind", "status", "attempts", "run", "at", "model")


def selecting(command: Command) -> Command:
    """Add the options that say which dead letters are meant."""
    for option in (
        click.option(
            "--kind",
            "kinds",
            multiple=True,
            type=click.Choice([kind.value for kind in Kind]),
            metavar="KIND",
            help="Only this kind of failure: " + ", ".join(Kind) + ".",
        ),
        click.option("--tier", "tiers", multiple=True, metavar="TIER", help="Only this tier's."),
    ):
        command = option(command)
    return command


@click.group(no_args_is_help=True)
def dead() -> None:
    """See the dead letters, and replay them.

    A dead letter is a job that no retry cures or whose attempts are spent. Its caller has heard of it. It
    waits in its tier's dead-letter queue until it is replayed.
    """


@dead.command(
    "list",
    short_help="List the dead letters: job, kind of failure, attempts.",
    epilog="""\b
Examples:
  warren dead list
  warren dead list --tier premium --kind overloaded --json
Exit status: 0 shown, also when there are none, 1 the configuration has problems, 2 usage, 3 the ledger cannot be
read.""",
)
@selecting
@config_option
@as_json
def list_letters(
    kinds: tuple[str, ...],
    tiers: tuple[str, ...],
    config: str | None,
    as_json: bool,  # noqa: FBT001  # click passes options by name
) -> None:
    """List the dead letters, oldest first: which job, which kind of failure, after how many attempts."""
    letters = _letters(config, _selection((), kinds, tiers))
    show([_row(letter) for letter in letters], columns=_COLUMNS, json_too=as_json)


@dead.command(
    "show",
    short_help="Show one dead letter with its request and history.",
    epilog="""\b
Examples:
  warren dead show 3f2a91
  warren dead show 3f2a91 --json | jq -r ".[0].request"
Exit status: 0 shown, 1 there is no such dead letter, or the configuration has problems, 2 usage (also an id that is
too short or fits several jobs), 3 the ledger cannot be read.""",
)
@click.argument("job")
@config_option
@as_json
def show_letter(job: str, config: str | None, as_json: bool) -> None:  # noqa: FBT001  # see list_letters
    """Show one dead letter: its request, and the history of its attempts.

    JOB is the job's id, or its first digits. The request is shown as it would go upstream.
    """
    letters = _letters(config, Selection(job_ids=_resolve(config, (job,))))
    letter = letters[0] if letters else None
    if letter is None:
        fail(f"job {job} is not in the dead letters; `warren explain {job}` tells where it is")
    row = _row(letter) | {"request": letter.request}
    row["history"] = [asdict(entry) for entry in letter.history]
    if as_json:
        show([row], columns=(), json_too=True)
        return
    for name in (
        "job_id",
        "tenant",
        "tier",
        "lane",
        "path",
        "model",
        "kind",
        "status",
        "code",
        "at",
    ):
        click.echo(f"{name:10} {row[name] if row[name] is not None else '-'}")
    click.echo("\nhistory")
    columns = ("at", "attempt", "what", "kind", "status", "endpoint", "calls", "upstream_ms")
    show([asdict(entry) for entry in letter.history], columns=columns, json_too=False)
    click.echo(f"\nrequest\n{letter.request.decode(errors='replace')}")


@dead.command(
    "replay",
    short_help="Put dead letters back into their tier's queue.",
    epilog="""\b
Examples:
  warren dead replay 3f2a91                       one job
  warren dead replay --kind overloaded --dry-run   what would be replayed
  warren dead replay --tier premium                all of a tier
  warren dead replay --all --yes                   all, without a question
Exit status: 0 replayed, 1 nothing was selected, something was left, or the configuration has problems, 2 usage,
3 the broker is not reachable or refuses the user, or the ledger cannot be read.""",
)
@click.argument("jobs", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters of all tiers.")
@click.option("--dry-run", is_flag=True, help="List what would be replayed, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before replaying more than one.")
@click.option(
    "--deadline",
    callback=seconds,
    metavar="SECONDS",
    help="The new deadline, from now; by default as long as the job had at first.",
)
@click.option(
    "--url",
    envvar="WARREN_OPERATOR_URL",
    help="The broker, as an operator. From WARREN_OPERATOR_URL.",
)
@selecting
@config_option
@as_json
def replay_letters(  # noqa: PLR0917  # one parameter for each option, by name
    jobs: tuple[str, ...],
    kinds: tuple[str, ...],
    tiers: tuple[str, ...],
    everything: bool,  # noqa: FBT001  # click passes options by name
    dry_run: bool,  # noqa: FBT001  # see above
    yes: bool,  # noqa: FBT001  # see above
    deadline: timedelta | None,
    url: str | None,
    config: str | None,
    as_json: bool,  # noqa: FBT001  # see above
) -> None:
    """Put dead letters back into their tier's queue, as the next run of the same job.

    JOBS are ids or their first digits. Their callers hear again, on the same callback queue. Killed at
    any moment it loses nothing, and a job that completed meanwhile is not run again.
    """
    if not (jobs or kinds or tiers or everything):
        raise click.UsageError("say which: job ids, --kind, --tier, or --all")
    if everything and (jobs or kinds or tiers):
        raise click.UsageError("--all takes everything: leave out job ids, --kind and --tier")
    selection = _selection(_resolve(config, jobs) if jobs else (), kinds, tiers)
    letters = _letters(config, selection)
    if dry_run:
        show([_row(letter) for letter in letters], columns=_COLUMNS, json_too=as_json)
        return
    # A replay that was killed may leave letters behind whose jobs it has brought back: the ledger has them no more.
    looked_at = {letter.tier for letter in letters} | (_tiers(config) if everything else set())
    if not looked_at:
        fail(_NONE)
    if url is None:
        raise click.UsageError("--url or WARREN_OPERATOR_URL must name the broker, as an operator")
    address = _operator(url)
    if len(letters) > 1 and not yes:
        click.confirm(f"replay {len(letters)} dead letters?", abort=True, err=True)
    done = _replay(
        address, selection, sorted(looked_at), deadline, total=len(letters), quiet=as_json
    )
    if not (letters or done.total):
        fail(_NONE)
    if as_json:
        show([asdict(done)], columns=(), json_too=True)
    else:
        click.echo(
            f"replayed {done.replayed} of {done.total} dead letters seen, unreadable {done.unreadable}, "
            f"without a queue {done.homeless}"
        )
    if done.replayed < len(letters):
        raise SystemExit(FAILED)


def _operator(url: str) -> Address:
    try:
        return Address.parse(url)
    except SettingsError as error:
        raise click.UsageError(f"--url or WARREN_OPERATOR_URL: {error.problems[0]}") from None


def _replay(
    address: Address,
    selection: Selection,
    tiers: list[str],
    span: timedelta | None,
    *,
    total: int,
    quiet: bool,
) -> Replayed:
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with told(), Progress(*columns, console=Console(stderr=True, quiet=quiet)) as progress:
        bar = progress.add_task("", total=total)

        async def run() -> Replayed:
            troubles = Troubles(_Stderr())
            taking = Link(address, purpose="replay: take", troubles=troubles)
            putting = Link(address, purpose="replay: put", troubles=troubles)
            try:
                await taking.connect()
                return await Replay(
                    link=taking,
                    publisher=Publisher(putting, troubles),
                    clock=SystemClock(),
                    report=lambda done: progress.update(bar, completed=done.replayed),
                    span=span,
                ).run(selection, tiers)
            finally:
                await taking.close()
                await putting.close()

        return asyncio.run(run())


class _Stderr:
    """Tells an operator at the terminal what goes wrong meanwhile."""

    def tell(self, event: Event) -> None:
        if isinstance(event, Trouble):
            click.echo(f"warren: {event.what} {event.about}: {event.error}", err=True)


def _letters(config: str | None, selection: Selection) -> list[Letter]:
    with told():
        return list(archive_of(config).letters(selection))


def _tiers(config: str | None) -> set[str]:
    with told():
        return set(settings_of(config).tiers)


def _resolve(config: str | None, jobs: tuple[str, ...]) -> frozenset[str]:
    """Give the full ids of jobs that may be named by their first digits."""
    ids = set()
    with told():
        archive = archive_of(config)
        for job in jobs:
            explanation = archive.explain(job)
            if explanation is None:
                fail(f"the ledger knows no job {job}")
            ids.add(explanation.job_id)
    return frozenset(ids)


def _selection(
    jobs: frozenset[str] | tuple[()], kinds: tuple[str, ...], tiers: tuple[str, ...]
) -> Selection:
    return Selection(
        job_ids=frozenset(jobs), kinds=frozenset(map(Kind, kinds)), tiers=frozenset(tiers)
    )


def _row(letter: Letter) -> dict[str, object]:
    row = asdict(letter)
    del row["request"], row["history"]
    return row
