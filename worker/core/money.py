"""Money as the stores keep it: whole numbers of a unit so small that no cost is ever rounded down.

A store adds and compares these as whole numbers of any length: SQLite keeps them as text and Python adds them, Redis
adds them digit by digit. So there is no largest sum, and no sum is inexact.
"""

from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from typing import Final

# A price has at most 12 decimals per million tokens, so that a cost has at most 18: 6 are to spare.
_DECIMALS: Final = 24
# Wide enough for any sum of amounts that a `Decimal` may name here: nothing is rounded but by `whole`.
_WIDE: Final = Context(prec=200)
_NOTHING: Final = Decimal(0)


def whole(usd: Decimal) -> int:
    """Give an amount of US dollars, zero or more, in units of 1e-24; what is finer than a unit counts as one more."""
    if not usd.is_finite() or usd < 0:
        raise ValueError("an amount of money is a finite number, zero or more")
    return _units(usd)


# The same few caps, and a call's estimate and cost, are asked for several times.
@lru_cache(maxsize=1024)
def _units(usd: Decimal) -> int:
    return int(_WIDE.scaleb(usd, _DECIMALS).to_integral_value(rounding=ROUND_CEILING))


def dollars(units: int) -> Decimal:
    """Give so many units as US dollars, with no zeros at the end."""
    return plain(_WIDE.scaleb(Decimal(units), -_DECIMALS)) if units else _NOTHING


def plus(one: Decimal, other: Decimal) -> Decimal:
    """Give the exact sum of two amounts."""
    return _WIDE.normalize(_WIDE.add(one, other))


def times(count: int, usd: Decimal) -> Decimal:
    """Give the exact multiple of an amount."""
    return plain(_WIDE.multiply(Decimal(count), usd))


def plain(usd: Decimal) -> Decimal:
    """Give the amount without zeros at the end, so that equal amounts are written alike."""
    return _WIDE.normalize(usd)
