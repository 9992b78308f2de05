"""What commands print: a table for a person, JSON for a program; and how they fail."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.table import Table

from producer_sdk import BrokerUnavailable as NoBroker
from producer_sdk import InvalidRequest, InvalidSetting, PublishUnconfirmed, PublishUnsent
from producer_sdk import WarrenError as SdkError
from worker.errors import AmbiguousJob, BrokerUnavailable, StoreUnavailable, WarrenError

# Exit statuses, as every command's --help tells. click ends with USAGE too.
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
_STATUSES: Final = (
    ((AmbiguousJob, InvalidRequest, InvalidSetting), USAGE),
    ((BrokerUnavailable, StoreUnavailable), UNREACHABLE),
    ((NoBroker, PublishUnconfirmed, PublishUnsent), UNREACHABLE),
)

_PIPE_WIDTH: Final = 200

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def show(rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], json_too: bool) -> None:
    """Print rows: all their fields as a JSON array, or these columns as a table."""
    if json_too:
        click.echo(json.dumps([dict(row) for row in rows], default=plain, indent=2))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(str(plain(row.get(column), brief=True)) for column in columns))
    # A pipe gets whole rows, whatever width the terminal behind it has.
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def plain(value: object, *, brief: bool = False) -> Any:  # noqa: ANN401  # any JSON value
    """Give a value as JSON, or (brief) as a table's cell, can show it."""
    match value:
        case None if brief:
            return "-"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds" if brief else "milliseconds")
        case timedelta():
            return f"{value.total_seconds():.1f} s" if brief else value.total_seconds()
        case bytes():
            return value.decode(errors="replace")
        case Decimal():
            return format(value, "f")
        case _:
            return (
                value if isinstance(value, str | int | float | bool | list | dict) else str(value)
            )


def dollars(cost: Decimal | None) -> str:
    """Give a cost to its last digit: "cost $0.00045", or "cost unknown"."""
    return "cost unknown" if cost is None else f"cost ${cost:f}"


def fail(message: str, status: int = FAILED) -> NoReturn:
    """End the command with one line on standard error."""
    click.echo(f"warren: {message}", err=True)
    raise SystemExit(status)


@contextmanager
def told() -> Iterator[None]:
    """Turn Warren's own exceptions into one clear line and an exit status."""
    try:
        yield
    except (WarrenError, SdkError) as error:
        fail(str(error), _status(error))


def _status(error: Exception) -> int:
    return next((status for kinds, status in _STATUSES if isinstance(error, kinds)), FAILED)
