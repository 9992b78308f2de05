"""`warren lane`: see the lanes, pause and resume them, and set their measure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import click

from producer_sdk.wire import Lane, request_key
from worker.cli.configured import config_option, settings_of
from worker.cli.output import as_json, show, told
from worker.clock import SystemClock
from worker.core.lanes import NO_ORDERS, UNLIMITED, LaneRules, Orders, closed, under
from worker.core.windows import Window, next_change
from worker.parts import lane_rules
from worker.ports import LaneBook
from worker.settings import Settings
from worker.settings.bounds import MOST_JOBS_OF_A_LANE
from worker.stores import lane_book

Command = TypeVar("Command", bound=Callable[..., object])

_COLUMNS: Final = (
    "tier",
    "lane",
    "state",
    "until",
    "concurrency",
    "per_minute",
    "last_minute",
    "windows",
    "set_by_operator",
)
_AS_CONFIGURED: Final = "default"
# As the setting `requests_per_minute`.
_MOST_CALLS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """One lane of one tier: what is configured and what operators want."""

    tier: str
    lane: Lane
    configured: LaneRules
    orders: Orders

    @property
    def key(self) -> str:
        return request_key(self.tier, self.lane)


def choosing(command: Command) -> Command:
    """Add the argument and the option that say which lanes are meant."""
    for parameter in (
        click.option(
            "--tier",
            "tiers",
            multiple=True,
            metavar="TIER",
            help="Only this tier's; repeat for more.",
        ),
        click.argument("lane", type=click.Choice([lane.value for lane in Lane])),
    ):
        command = parameter(command)
    return command


@click.group(no_args_is_help=True)
def lane() -> None:
    """See the lanes, pause and resume them, set their measure.

    Every tier has two: interactive jobs are answered as they come, bulk jobs within the lane's windows, calls a
    minute and concurrency. What is said here stands in the workers' store: it reaches every worker on that
    store within a second, also one that starts later, and stands until it is said otherwise.
    """


@lane.command(
    short_help="Show every lane: open or not, and what holds for it.",
    epilog="""\b
Examples:
  warren lane status
  warren lane status --json | jq '.[] | select(.state == "paused")'
Exit status: 0 shown, 1 the configuration has problems, 2 usage, 3 the store cannot be read.""",
)
@config_option
@as_json
def status(config: str | None, as_json: bool) -> None:  # noqa: FBT001  # click passes by name
    """Show every lane: whether it is open, until when, and what holds for it.

    `per_minute` is the most calls that it starts in any minute, `last_minute` how many it started in the last
    one; 0: they are not counted.
    """
    with told():
        show(_rows(config), columns=_COLUMNS, json_too=as_json)


@lane.command(
    epilog="""\b
Examples:
  warren lane pause bulk
  warren lane pause interactive --tier premium --reason "the provider has trouble until noon"
Exit status: 0 it stands, 1 the configuration has problems, 2 usage, 3 the store cannot be written."""
)
@choosing
@click.option("--reason", help="What `warren lane status` and the log say.")
@config_option
def pause(lane: str, tiers: tuple[str, ...], reason: str | None, config: str | None) -> None:
    """Start no more calls in a LANE until it is resumed.

    Calls that run go on; jobs wait in the broker, and producers may submit more.
    """
    _order(config, lane, tiers, lambda orders: replace(orders, paused=True, reason=reason))


@lane.command(
    epilog="""\b
Examples:
  warren lane resume bulk
Exit status: 0 it stands, 1 the configuration has problems, 2 usage, 3 the store cannot be written."""
)
@choosing
@config_option
def resume(lane: str, tiers: tuple[str, ...], config: str | None) -> None:
    """Let a paused LANE start calls again, within its windows."""
    _order(config, lane, tiers, lambda orders: replace(orders, paused=False, reason=None))


@lane.command(
    "set",
    short_help="Set calls a minute, concurrency or windows.",
    epilog="""\b
Examples:
  warren lane set bulk --requests-per-minute 300
  warren lane set bulk --tier budget --window "22:00-06:00 Europe/Berlin, Mon-Fri" --window "00:00-24:00 Europe/Berlin, Sat,Sun"
  warren lane set bulk --window default --requests-per-minute default    # as configured again
Exit status: 0 it stands, 1 the configuration has problems, 2 usage, 3 the store cannot be written.""",
)
@choosing
@click.option(
    "--requests-per-minute",
    metavar="N",
    help="Calls that it starts in any minute, over all workers; 0: any number; default: as configured.",
)
@click.option(
    "--concurrency", metavar="N", help="Jobs of it that a worker works on at once; or default."
)
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar="HOURS",
    help="When it is open; repeat for more; always; or default.",
)
@config_option
def set_measure(  # noqa: PLR0917  # one parameter for each option, by name
    lane: str,
    tiers: tuple[str, ...],
    requests_per_minute: str | None,
    concurrency: str | None,
    windows: tuple[str, ...],
    config: str | None,
) -> None:
    """Set a LANE's calls a minute, concurrency or windows, instead of what is configured.

    What is not named stays as it is. "default" gives what is configured back.
    """
    if requests_per_minute is None and concurrency is None and not windows:
        raise click.UsageError("say what to set: --requests-per-minute, --concurrency or --window")

    def change(orders: Orders) -> Orders:
        if requests_per_minute is not None:
            per_minute = _number(
                "--requests-per-minute", requests_per_minute, least=0, most=_MOST_CALLS
            )
            orders = replace(orders, per_minute=per_minute)
        if concurrency is not None:
            number = _number("--concurrency", concurrency, least=1, most=MOST_JOBS_OF_A_LANE)
            orders = replace(orders, concurrency=number)
        return replace(orders, windows=_windows(windows)) if windows else orders

    _order(config, lane, tiers, change)


def _order(
    config: str | None, lane: str, tiers: tuple[str, ...], change: Callable[[Orders], Orders]
) -> None:
    """Change what operators want of the lanes that are meant, and show how they stand then."""
    with told():
        settings = settings_of(config)
        if unknown := [tier for tier in tiers if tier not in settings.tiers]:
            known = ", ".join(settings.tiers)
            raise click.UsageError(f"there is no tier {unknown[0]!r}; there are {known}")
        book = lane_book(settings.store)
        meant = [
            each
            for each in _lanes(settings, book)
            if each.lane == lane and (not tiers or each.tier in tiers)
        ]
        for each in meant:
            book.change(each.key, change, now=SystemClock().now())
        keys = {each.key for each in meant}
        rows = [row for row in _rows(config) if f"{row['tier']}.{row['lane']}" in keys]
        show(rows, columns=_COLUMNS, json_too=False)


def _lanes(settings: Settings, book: LaneBook) -> Iterator[_Lane]:
    orders, rules = book.orders(), lane_rules(settings.tiers)
    for tier in settings.tiers:
        for name in Lane:
            key = request_key(tier, name)
            yield _Lane(
                tier=tier,
                lane=name,
                configured=rules[key],
                orders=orders.get(key, NO_ORDERS),
            )


def _rows(config: str | None) -> list[dict[str, object]]:
    settings = settings_of(config)
    book, now = lane_book(settings.store), SystemClock().now()
    return [_row(each, book, now) for each in _lanes(settings, book)]


def _row(each: _Lane, book: LaneBook, now: datetime) -> dict[str, object]:
    rules = under(each.configured, each.orders)
    shut = closed(rules, each.orders, now)
    state = "paused" if each.orders.paused else "open" if shut is None else "closed"
    return {
        "tier": each.tier,
        "lane": each.lane.value,
        "state": state,
        "reason": None if shut is None else shut.reason,
        "until": next_change(rules.windows, now) if shut is None else shut.until,
        "concurrency": rules.concurrency,
        "per_minute": rules.per_minute or None,
        "last_minute": book.started(each.key, since=now - timedelta(minutes=1))
        if rules.per_minute != UNLIMITED
        else None,
        "windows": "; ".join(map(str, rules.windows)) or "always",
        "set_by_operator": ", ".join(_ordered(each.orders)) or None,
    }


def _ordered(orders: Orders) -> Iterator[str]:
    for name, value in (
        ("concurrency", orders.concurrency),
        ("per_minute", orders.per_minute),
        ("windows", orders.windows),
    ):
        if value is not None:
            yield name


def _number(option: str, text: str, *, least: int, most: int) -> int | None:
    """Give the number, or None for what is configured."""
    if text == _AS_CONFIGURED:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise click.UsageError(f"{option}: must be a number from {least} to {most}, or default")
    return int(text)


def _windows(texts: tuple[str, ...]) -> tuple[Window, ...] | None:
    """Give the windows, none for always, or None for what is configured."""
    if texts == (_AS_CONFIGURED,):
        return None
    if texts == ("always",):
        return ()
    try:
        return tuple(Window.parse(text) for text in texts)
    except ValueError as error:
        raise click.UsageError(f"--window: {error}") from None
