"""Seconds on the command line."""

import math
from datetime import timedelta
from typing import Final

import click

# The longest deadline that a tier can allow.
_MOST: Final = timedelta(days=90)


def seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    """Give the duration of an option in seconds; the callback of every such option.

    Raises:
        click.BadParameter: it is no number, or not more than zero (as NaN is not), or more than 90 days.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= _MOST.total_seconds():
        raise click.BadParameter(
            f"{value!r} must be a number of seconds, more than 0 and at most {_MOST.total_seconds():.0f} (90 days)."
        )
    return timedelta(seconds=number)
