"""The schema, looked at as data: which settings there are, and how each is read, shown and named."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, TypeAdapter

from worker.settings.budgets import BudgetSettings
from worker.settings.calling import RetrySettings, TierSettings
from worker.settings.endpoints import EndpointSettings
from worker.settings.managed import SecretsSettings
from worker.settings.prices import PriceSettings
from worker.settings.schema import BrokerSettings, HttpSettings, StoreSettings, WorkerSettings
from worker.settings.secret import MASK, Secret
from worker.settings.urls import show_url
from worker.settings.values import PLAIN, format_duration, format_size, parse_size

Key: TypeAlias = tuple[str, ...]
Settable: TypeAlias = (
    BrokerSettings
    | StoreSettings
    | HttpSettings
    | WorkerSettings
    | SecretsSettings
    | RetrySettings
    | TierSettings
    | EndpointSettings
    | PriceSettings
    | BudgetSettings
)

ENV_PREFIX: Final = "WARREN_"
SECTIONS: Final[Mapping[str, type[Settable]]] = {
    "broker": BrokerSettings,
    "store": StoreSettings,
    "http": HttpSettings,
    "worker": WorkerSettings,
    "secrets": SecretsSettings,
    "retry": RetrySettings,
}
TABLES: Final[Mapping[str, type[Settable]]] = {
    "tiers": TierSettings,
    "endpoints": EndpointSettings,
    "prices": PriceSettings,
    "budgets": BudgetSettings,
}
# Their names are models: with dots, slashes and colons, they are no names of variables.
FILE_ONLY: Final = frozenset({"prices"})
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_SHOWN: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of the schema. `stand_in` takes its place while other problems are looked for."""

    key: str
    meaning: str
    required: bool
    default: object
    stand_in: object
    types: tuple[object, ...]
    is_size: bool
    is_plain: bool
    adapter: TypeAdapter[Any]

    @property
    def is_secret(self) -> bool:
        """Whether the value is a secret, so that `<key>_file` or `<key>_from` may give it too."""
        return Secret in self.types

    def show(self, value: object) -> str:
        """Give a valid value as a person would write it; secrets and header values masked."""
        match value:
            case timedelta():
                text = format_duration(value)
            case tuple():
                text = ", ".join(self.show(item) for item in value)
            case Secret(fixed=False):
                text = f"{MASK} in {value.place}"
            case Mapping():
                text = ", ".join(self._pair(*pair) for pair in value.items())
            case Decimal():
                text = format(value, "f")
            case bool():
                text = str(value).lower()
            case int() if self.is_size:
                text = format_size(value)
            case _:
                text = "" if value is None else str(value)
        return text

    def _pair(self, name: str, value: str) -> str:
        if not self.is_plain:
            return f"{name}: {MASK}"
        return name if value == name else f"{name}: {value}"

    def show_raw(self, value: object) -> str:
        """Give a value that may be broken, for an error text: nothing that could be a secret.

        A path without a slash is masked: it is more likely a key than a file.
        """
        if self.is_secret or isinstance(value, Secret):
            return MASK
        if isinstance(value, dict):
            return f"{{{', '.join(value)}}}" if self.is_plain else MASK
        if isinstance(value, list):
            return f"[{', '.join(self.show_raw(item) for item in value)}]"
        if isinstance(value, str):
            if "url" in self.key or "://" in value:
                return f'"{show_url(value)}"'
            if (isinstance(self.default, Mapping) and not self.is_plain) or (
                Path in self.types and "/" not in value
            ):
                return MASK
        text = f'"{value}"' if isinstance(value, str) and value.isprintable() else repr(value)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def dotted(key: Key) -> str:
    """Give a setting's path as TOML writes it: `tiers.premium.concurrency`, `prices."gpt-4.1".input`."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in key)


def env_name(key: Key) -> str:
    """Give the environment variable of a setting: `WARREN_TIERS__PREMIUM__CONCURRENCY`."""
    return ENV_PREFIX + "__".join(part.upper().replace("-", "_") for part in key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Give "; did you mean X?" for the known name that is nearest, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _setting(key: str, hint: object, default: object, *, adapter: TypeAdapter[Any]) -> Setting:
    kind, *marks = get_args(hint)
    required = default is MISSING
    return Setting(
        key=key,
        meaning=next(mark for mark in reversed(marks) if isinstance(mark, str)),
        required=required,
        default=None if required else default,
        stand_in=("" if kind is str else ()) if required else default,
        types=get_args(kind) or (kind,),
        is_size=any(
            isinstance(mark, BeforeValidator) and mark.func is parse_size for mark in marks
        ),
        is_plain=any(mark is PLAIN for mark in marks),
        adapter=adapter,
    )


def _settings_of(kind: type[Settable]) -> Mapping[str, Setting]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        each.name: _setting(
            each.name,
            hints[each.name],
            each.default if each.default_factory is MISSING else each.default_factory(),
            adapter=TypeAdapter(hints[each.name]),
        )
        for each in fields(kind)
        if get_origin(hints[each.name]) is Annotated
    }


FIELDS: Final[Mapping[str, Mapping[str, Setting]]] = {
    section: _settings_of(kind) for section, kind in {**SECTIONS, **TABLES}.items()
}
