"""Where Python packages come from on this machine, told to uv, which does not read pip's settings."""

import os
import subprocess
import sys
from collections.abc import Iterable

# pip's setting, and uv's variable for it.
_SINGLE = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
_SEVERAL = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


def uv_environment(*, primary_only: bool = False) -> dict[str, str]:
    """Give uv's variables for the indexes that pip is configured with; those already set win.

    With `primary_only`, extra indexes and folders are left out: a lock must not depend on them.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = translate(done.stdout.splitlines(), primary_only=primary_only)
    return {name: value for name, value in found.items() if name not in os.environ}


def translate(settings: Iterable[str], *, primary_only: bool = False) -> dict[str, str]:
    """Translate lines of `pip config list`, such as "global.index-url='…'", into uv's variables."""
    names = _SINGLE if primary_only else _SINGLE | _SEVERAL
    found: dict[str, str] = {}
    for line in settings:
        key, _, quoted = line.partition("=")
        setting = key.rpartition(".")[2]
        if setting in names:
            value = " ".join(quoted.strip("'\"").replace("\\n", " ").split())
            separator = "," if setting == "find-links" else " "
            found[names[setting]] = value.replace(" ", separator)
    return found
