"""The settings about money: prices of models, before those that the worker brings along. See `schema`."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BeforeValidator

_AMOUNT: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,12})?")


def parse_amount(value: object) -> Decimal:
    """Give the amount of "0.25", 0.25 or 2, digit by digit as it was written."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or _AMOUNT.fullmatch(text.strip()) is None:
        raise ValueError('must be US dollars such as "0.25", with at most 12 decimals')
    return Decimal(text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """One model's price, in US dollars per million tokens. Its name is the model's, whole."""

    name: str
    input: Annotated[
        Decimal,
        BeforeValidator(parse_amount),
        "US dollars per million prompt tokens of the model; prices stand in the file alone",
    ]
    output: Annotated[
        Decimal,
        BeforeValidator(parse_amount),
        "US dollars per million completion tokens; 0 for embeddings",
    ]
    cached_input: Annotated[
        Decimal | None,
        BeforeValidator(parse_amount),
        "The same of prompt tokens that the API's prompt cache gave; as `input` by default",
    ] = None
    cache_write: Annotated[
        Decimal | None,
        BeforeValidator(parse_amount),
        "The same of prompt tokens that its prompt cache took; as `input` by default",
    ] = None
