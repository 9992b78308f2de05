"""Values from the environment and from the folder of secrets; both use the same names.

`WARREN_BROKER__URL` is `broker.url`, `WARREN_TIERS__PREMIUM__CONCURRENCY` is `tiers.premium.concurrency`.
A tier `my-tier` of the file is MY_TIER here. Prices stand in the file alone. Every other variable that begins with `WARREN_` is a problem,
but for `WARREN_CONFIG`, `WARREN_SECRETS_DIR`, what other commands read, and what Kubernetes sets for a service "warren".
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from worker.settings.fields import (
    ENV_PREFIX,
    FIELDS,
    FILE_ONLY,
    SECTIONS,
    TABLES,
    Key,
    env_name,
    nearest,
)
from worker.settings.found import FILE_SUFFIX, Entry, Found

CONFIG_VARIABLE: Final = "WARREN_CONFIG"
SECRETS_DIR_VARIABLE: Final = "WARREN_SECRETS_DIR"
# What the commands of producers and operators read, and what `./dev` does: no settings of the worker.
_OTHERS: Final = ("URL", "OPERATOR_URL", "MANAGEMENT_URL", "PYTHON", "SEED", "TEST_RELEASE")
_RESERVED: Final = frozenset(
    {CONFIG_VARIABLE, SECRETS_DIR_VARIABLE, *(f"WARREN_{name}" for name in _OTHERS)}
)
_SERVICE_LINK: Final = re.compile(
    r"WARREN_(?!.*__)(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT(?:_[0-9]+_\w+)?)"
)


def read_environment(found: Found, environ: Mapping[str, str]) -> None:
    """Put the environment's values into `found`. To be called after the file's, whose names it looks at."""
    here = Path.cwd()
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable in _RESERVED:
            continue
        if _SERVICE_LINK.fullmatch(variable):
            continue
        if (key := _key(found, variable)) is None:
            _unknown(found, variable, variable)
        elif value:
            entry = Entry(value=value, source=variable, folder=here, text=True)
            found.put(key[:-1], key[-1], entry)
        else:
            found.problems.append(f"{variable}: is empty; unset it or give it a value")


def read_secrets(found: Found, folder: Path) -> None:
    """Put the folder's secrets into `found`: files named as their variable, such as `WARREN_BROKER__PASSWORD`.

    Other files in the folder are left alone, unless their names begin with `WARREN_`.
    """
    try:
        files = sorted(each for each in folder.iterdir() if each.name.startswith(ENV_PREFIX))
    except OSError as error:
        found.problems.append(f"{SECRETS_DIR_VARIABLE}: {folder} cannot be read: {error.strerror}")
        return
    for file in files:
        key = _key(found, file.name)
        setting = FIELDS[key[0]].get(key[-1]) if key else None
        if key is not None and setting is not None and setting.is_secret:
            source = Entry(value=str(file.absolute()), source=SECRETS_DIR_VARIABLE, folder=folder)
            found.put(key[:-1], key[-1] + FILE_SUFFIX, source)
        else:
            _unknown(found, str(file), file.name)


def _key(found: Found, variable: str) -> Key | None:
    """Give section, name (of a tier or endpoint) and setting; None: the variable has no such form."""
    match variable.removeprefix(ENV_PREFIX).lower().split("__"):
        case [section, key] if section in SECTIONS:
            return (section, key)
        case [section, *middle, key] if section in TABLES.keys() - FILE_ONLY and middle:
            names = found.names[section]
            written = "__".join(middle)
            name = next((each for each in names if each.replace("-", "_") == written), written)
            name = written if written in names else name
            names[name] = None
            return (section, name, key)
        case _:
            return None


def _unknown(found: Found, where: str, variable: str) -> None:
    known = [env_name((section, key)) for section in SECTIONS for key in FIELDS[section]]
    for section in TABLES.keys() - FILE_ONLY:
        names = found.names[section]
        known += [env_name((section, name, key)) for name in names for key in FIELDS[section]]
    found.problems.append(f"{where}: there is no such setting{nearest(variable, known)}")
