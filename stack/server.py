"""Where RabbitMQ's programs are: installed on the machine, or unpacked into the project."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stack.errors import BrokerNotFound
from stack.packages import unpack

_INSTALLED = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",  # Debian, Ubuntu, RPM
    "/opt/rabbitmq/sbin",  # the official container image
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
_ERLANG = (
    "/usr/lib/erlang/bin",
    "/usr/local/lib/erlang/bin",
    "/opt/homebrew/bin",
    "/usr/local/bin",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One RabbitMQ that can be run: its scripts, the Erlang that runs it, and its version."""

    scripts: Path
    erlang: Path
    version: str


def find_server(cache: Path, *, release: str | None = None) -> Server:
    """Give a RabbitMQ server, fetching it into `cache` when the machine has none.

    Without `release`, an installed server wins; else the packages of the machine's own distribution
    are unpacked. With `release` (a Debian suite such as "trixie" or "sid") that suite's packages are
    always used. The system is never touched, root is not needed, and a second call finds the first
    one's work.

    Raises:
        BrokerNotFound: There is none, and none can be fetched; the text says what to install.
    """
    if release is None and (server := installed()) is not None:
        return server
    root = unpack(cache, release=release)
    server = next(_servers(root / "usr/lib/rabbitmq/lib", root / "usr/lib/erlang/bin"), None)
    if server is None:
        raise BrokerNotFound(f"{root} holds no complete RabbitMQ; delete that folder and try again")
    return server


def installed() -> Server | None:
    """Give the server that is installed on this machine, or None."""
    found = shutil.which("erl")
    folders = [Path(found).parent] if found else []
    folders += [Path(name) for name in _ERLANG]
    erlang = next((folder for folder in folders if (folder / "erl").exists()), None)
    if erlang is None:
        return None
    patterns = [*_INSTALLED]
    if home := os.environ.get("RABBITMQ_HOME"):
        patterns.insert(0, f"{home}/sbin")
    for pattern in patterns:
        for scripts in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if (version := _version(scripts)) is not None:
                return Server(scripts=scripts, erlang=erlang, version=version)
    return None


def _servers(lib: Path, erlang: Path) -> Iterator[Server]:
    for scripts in sorted(lib.glob("rabbitmq_server-*/sbin"), reverse=True):
        version = _version(scripts)
        if version is not None and (erlang / "erl").exists():
            yield Server(scripts=scripts, erlang=erlang, version=version)


def _version(scripts: Path) -> str | None:
    """Read the version from the name of the core plugin, which every packaging keeps."""
    if not (scripts / "rabbitmq-server").exists():
        return None
    for plugin in (scripts.parent / "plugins").glob("rabbit-[0-9]*"):
        if found := re.match(r"rabbit-(\d+(?:\.\d+)+)", plugin.name):
            return found[1]
    return None
