"""What an endpoint serves, as it is written: models with their names there, and paths."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from producer_sdk.wire import PATHS
from worker.settings.values import parse_list, parse_table

_LONGEST_NAME: Final = 256
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~:-]+)+")


def parse_models(value: object) -> object:
    """Give the table of models, asked for and there; a list of models names them the same on both sides."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return parse_table(value)
    if isinstance(value, dict):
        return value
    if not isinstance(value, str | list):
        raise ValueError('must be a list of models, or a table { "asked for" = "there" }')  # noqa: TRY004  # pydantic collects ValueError only
    models = parse_list(value)
    if len(set(map(str, models))) < len(models):
        raise ValueError("must name each model once")
    if not all(isinstance(model, str) for model in models):
        raise ValueError("must be a list of strings")
    return {str(model): model for model in models}


def checked_models(models: Mapping[str, str]) -> Mapping[str, str]:
    """Give the models back, frozen, if each name can be one.

    Raises:
        ValueError: a name is empty, too long or not printable.
    """
    for name in (*models, *models.values()):
        if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise ValueError(f"must be names of models, of 1 to {_LONGEST_NAME} characters")
    return MappingProxyType(dict(models))


def checked_paths(paths: Mapping[str, str]) -> Mapping[str, str]:
    """Give the paths back, frozen, if each is one of the wire's and leads to a path, or to none.

    Raises:
        ValueError: there is no such path, or what it leads to is none.
    """
    for path, there in paths.items():
        if path not in PATHS:
            raise ValueError(f"must have no paths but {', '.join(PATHS)}")
        if there and _PATH.fullmatch(there) is None:
            raise ValueError(
                'must lead to paths such as "/chat/completions", or to "" where there is none'
            )
    return MappingProxyType(dict(paths))
