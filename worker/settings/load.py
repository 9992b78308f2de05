"""From sources to settings: gather, read each value, put together, check; all problems at once."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from pydantic import ValidationError

from worker.errors import SettingsError
from worker.settings.budgets import BudgetSettings
from worker.settings.calling import RetrySettings, TierSettings
from worker.settings.checks import findings, warnings
from worker.settings.document import read_document
from worker.settings.endpoints import EndpointSettings
from worker.settings.environment import (
    CONFIG_VARIABLE,
    SECRETS_DIR_VARIABLE,
    read_environment,
    read_secrets,
)
from worker.settings.fields import FIELDS, FILE_ONLY, Key, Setting, dotted, env_name
from worker.settings.found import Entry, Found
from worker.settings.managed import SecretsSettings, vault_options
from worker.settings.prices import PriceSettings
from worker.settings.schema import (
    BrokerSettings,
    HttpSettings,
    Settings,
    StoreSettings,
    WorkerSettings,
)
from worker.settings.urls import split_url

_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
_LONGEST_MODEL: Final = 256
_URLS: Final[tuple[Key, ...]] = (("broker", "url"), ("store", "url"))


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Give the settings of the file, the environment and the secret files together.

    `path` None: the file that `WARREN_CONFIG` names, else no file. Changes nothing; reads these files only: a
    secret that a manager keeps is read when it is wanted.

    Raises:
        SettingsError: with every problem there is, each with its path, its value and what is expected.
    """
    found = gather(path, environ)
    broken: set[str] = set()
    settings = _settings(found, broken)
    problems = list(found.problems)
    if found.complete:
        problems += [each.text for each in findings(settings) if broken.isdisjoint(each.about)]
    if problems:
        raise SettingsError(tuple(problems))
    found.readers.use(timeout=settings.secrets.timeout, vault=vault_options(settings.secrets))
    return replace(settings, warnings=(*found.warnings, *warnings(settings)))


def gather(path: Path | None, environ: Mapping[str, str]) -> Found:
    """Give every value of the file, the environment and the secrets folder, with its source.

    Raises nothing: what cannot be read or is not known is among the problems.
    """
    found = Found()
    if path is None and (named := environ.get(CONFIG_VARIABLE)):
        path = Path(named)
    if path is not None:
        read_document(found, path)
    read_environment(found, environ)
    if folder := environ.get(SECRETS_DIR_VARIABLE):
        read_secrets(found, Path(folder))
    for key in _URLS:
        _move_password(found, key)
    return found


def _move_password(found: Found, key: Key) -> None:
    """Take a password out of a URL, so that no part of the worker can show it with the URL."""
    entry = found.entries.get(key)
    parts = split_url(entry.value) if entry is not None and isinstance(entry.value, str) else None
    if entry is None or parts is None or parts.password is None:
        return
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    bare = parts._replace(netloc=f"{name}@{host}" if name else host).geturl()
    found.entries[key] = replace(entry, value=bare)
    found.put(key[:1], "password", replace(entry, value=unquote(parts.password)))


def _settings(found: Found, broken: set[str]) -> Settings:
    """Put the settings together; what is broken or missing is noted, and a stand-in takes its place."""

    def read(*prefix: str) -> Mapping[str, Any]:
        return {
            name: _read(found, (*prefix, name), setting, broken)
            for name, setting in FIELDS[prefix[0]].items()
        }

    names = {section: _names(found, section) for section in found.names}
    return Settings(
        broker=BrokerSettings(**read("broker")),
        store=StoreSettings(**read("store")),
        http=HttpSettings(**read("http")),
        worker=WorkerSettings(**read("worker")),
        secrets=SecretsSettings(**read("secrets")),
        retry=RetrySettings(**read("retry")),
        tiers=MappingProxyType(
            {name: TierSettings(name=name, **read("tiers", name)) for name in names["tiers"]}
        ),
        endpoints=MappingProxyType(
            {
                name: EndpointSettings(name=name, **read("endpoints", name))
                for name in names["endpoints"]
            }
        ),
        prices=MappingProxyType(
            {name: PriceSettings(name=name, **read("prices", name)) for name in names["prices"]}
        ),
        budgets=MappingProxyType(
            {name: BudgetSettings(name=name, **read("budgets", name)) for name in names["budgets"]}
        ),
        sources=MappingProxyType({dotted(key): each.source for key, each in found.entries.items()}),
        warnings=(),
    )


def _names(found: Found, section: str) -> list[str]:
    for name in found.names[section]:
        if section in FILE_ONLY:
            if not name.isprintable() or '"' in name or not 0 < len(name) <= _LONGEST_MODEL:
                found.problems.append(
                    f"{section}.{name!r}: a model's name must be 1 to {_LONGEST_MODEL} characters"
                )
        elif _NAME.fullmatch(name) is None:
            found.problems.append(
                f"{section}.{name!r}: a name must be 1 to 32 characters out of a-z 0-9 _ -"
            )
    return list(found.names[section])


def _read(found: Found, key: Key, setting: Setting, broken: set[str]) -> object:
    entry = found.entries.get(key)
    if entry is None:
        if not setting.required:
            return setting.default
        if found.complete:
            otherwise = "" if key[0] in FILE_ONLY else f" or as {env_name(key)}"
            found.problems.append(f"{dotted(key)} is missing: set it in the file{otherwise}")
    else:
        try:
            return setting.adapter.validate_python(
                entry.value, strict=not entry.text, context={"folder": entry.folder}
            )
        except ValidationError as error:
            found.problems.append(_problem(key, setting, entry, error))
    broken.add(dotted(key))
    return setting.stand_in


def _problem(key: Key, setting: Setting, entry: Entry, error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    expectation = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    shown = setting.show_raw(entry.value)
    return f"{dotted(key)} = {shown} ({entry.source}): {expectation}"
