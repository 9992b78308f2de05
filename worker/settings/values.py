"""How a setting's value is written and read: durations, sizes, paths, lists, addresses.

Each parser takes what TOML or the environment gives and raises ValueError with the expectation, a
sentence that follows "path = value: ". No parser's text repeats the value: it may be a misplaced secret.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationInfo

from worker.core.windows import Window
from worker.settings.secret import Secret, checked

_DURATION_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SIZE_UNITS: Final = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}
_NUMBER: Final = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_DURATION: Final = re.compile(rf"{_NUMBER}\s*(ms|s|m|h|d)?")
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB)?")
_LARGEST_PORT: Final = 65_535

PLAIN: Final = object()
"""Marks a table whose values are no secrets, so that they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a TCP port to listen on; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(value: object) -> timedelta:
    """Give the duration of "30s", "5m", "1.5h", "1d", "250ms" or a number of seconds."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    match: re.Match[str] | None = (
        _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    )
    if match is None:
        raise ValueError('must be a duration such as "30s", "5m", "1d" or "250ms"')
    unit = _DURATION_UNITS[match[2] or "s"]
    try:
        return float(Decimal(match[1])) * unit
    except OverflowError:
        raise ValueError("must be a duration of a realistic length") from None


def format_duration(value: timedelta) -> str:
    """Give a duration as `parse_duration` reads it, in the largest unit that fits without a fraction."""
    for name, unit in _DURATION_UNITS.items():
        if value and not value % unit:
            return f"{value // unit}{name}"
    return f"{value / _DURATION_UNITS['ms']:g}ms" if value else "0s"


def parse_size(value: object) -> int:
    """Give the bytes of "10MiB", "512KiB" or a number of bytes."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError('must be a size such as "512KiB", "10MiB" or "1GiB"')
    return int(match[1]) * _SIZE_UNITS[match[2] or "B"]


def format_size(value: int) -> str:
    """Give a size as `parse_size` reads it, in the largest unit that fits without a fraction."""
    name, unit = next(
        (name, unit) for name, unit in _SIZE_UNITS.items() if value % unit == 0 or unit == 1
    )
    return f"{value // unit}{name}"


def parse_address(value: object) -> Address:
    """Give host and port of "127.0.0.1:9464" or "[::1]:9464"."""
    match: re.Match[str] | None = (
        re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):([0-9]{1,5})", value)
        if isinstance(value, str)
        else None
    )
    if match is None or int(match[3]) > _LARGEST_PORT:
        raise ValueError('must be host:port, such as "127.0.0.1:9464"')
    return Address(host=match[1] or match[2], port=int(match[3]))


def parse_path(value: object, info: ValidationInfo) -> Path:
    """Give an absolute path; a relative one is meant from the folder that the context names."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the path of a file or folder")
    folder: Path = (info.context or {}).get("folder", Path())
    return (folder / value).absolute()


def parse_list(value: object) -> tuple[object, ...]:
    """Give the items of a list; from the environment also "a, b" or TOML's own form."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            value = _toml(value)
        else:
            value = [item.strip() for item in value.split(",")]
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004  # pydantic collects ValueError only
    return tuple(value)


def parse_windows(value: object) -> tuple[object, ...]:
    """Give the windows of a list, or one alone; from the environment also TOML's own form of a list."""
    if isinstance(value, str):  # a window has commas of its own
        value = _toml(value) if value.lstrip().startswith("[") else [value]
    return parse_list(value)


def parse_window(value: object) -> Window:
    """Give the window of "22:00-06:00 Europe/Berlin, Mon-Fri"."""
    if isinstance(value, Window):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic collects ValueError only
    return Window.parse(value)


def one_of(choices: type[StrEnum]) -> BeforeValidator:
    """Give the parser of an enumeration's values."""

    def parse(value: object) -> StrEnum:
        for choice in choices:
            if choice == value:
                return choice
        raise ValueError(f"must be one of {', '.join(choices)}")

    return BeforeValidator(parse)


def parse_table(value: object) -> object:
    """Give a table; from the environment in TOML's inline form, `{ "X-Team" = "blue" }`."""
    return _toml(value) if isinstance(value, str) else value


def parse_secret(value: object) -> Secret:
    """Give the secret that holds the text; one that is a secret already stays."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # pydantic collects ValueError only
    return Secret(checked(value))


def lasting(low: str, high: str) -> AfterValidator:
    """Give the check of a duration's bounds, both included."""
    lowest, highest = parse_duration(low), parse_duration(high)

    def check(value: timedelta) -> timedelta:
        if not lowest <= value <= highest:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return AfterValidator(check)


def measuring(low: str, high: str) -> AfterValidator:
    """Give the check of a size's bounds, both included."""
    lowest, highest = parse_size(low), parse_size(high)

    def check(value: int) -> int:
        if not lowest <= value <= highest:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return AfterValidator(check)


def within(low: float, high: float) -> AfterValidator:
    """Give the check of a number's bounds, both included; NaN lies in no bounds."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return AfterValidator(check)


def _toml(value: str) -> object:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        raise ValueError("is not readable as a TOML value") from None


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
Size: TypeAlias = Annotated[int, BeforeValidator(parse_size)]
ReadPath: TypeAlias = Annotated[Path, BeforeValidator(parse_path)]
ReadAddress: TypeAlias = Annotated[Address, PlainValidator(parse_address)]
ReadSecret: TypeAlias = Annotated[Secret, PlainValidator(parse_secret)]
