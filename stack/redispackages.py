"""Where a Redis is to run: installed on the machine, or the distribution's packages, unpacked into the project.

Valkey serves as well: it is asked for second.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack import apt
from stack.errors import PackagesNotHad, RedisNotFound

_INSTALL = (
    "install Redis 7.0 or newer, or Valkey (Debian and Ubuntu: apt-get install redis-server; "
    "macOS: brew install redis; Fedora: dnf install valkey) and try again"
)
_FOLDERS = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin")
_PROGRAMS = ("redis-server", "valkey-server")
# The server's program lies in the tools' package. Of the libraries that it needs, these are not on a minimal
# system; the rest is what apt itself runs on.
_LIBRARY = re.compile(r"lib(atomic|hiredis|jemalloc|lua5|lzf|ssl)[a-z0-9.+-]*|lua-(bitop|cjson)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """One Redis or Valkey that can be run: its program, what it calls itself, and where its libraries lie."""

    program: Path
    product: str
    version: str
    libraries: Path | None = None

    def environment(self) -> Mapping[str, str]:
        """Give the variables that the program needs beside the usual ones."""
        return _environment(self.libraries)


def find_redis(cache: Path) -> RedisServer:
    """Give a Redis, fetching it into `cache` when the machine has none.

    The system is never touched, root is not needed, and a second call finds the first one's work.

    Raises:
        RedisNotFound: There is none, and none can be fetched; the text says what to install.
    """
    if (server := installed()) is not None:
        return server
    root = cache.absolute() / "redis-distribution"
    if not apt.is_complete(root):
        _fetch(root)
    server = next(_servers(root), None)
    if server is None:
        raise RedisNotFound(f"{root} holds no Redis that runs; delete that folder and try again")
    return server


def installed() -> RedisServer | None:
    """Give the server that is installed on this machine, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS])
    for name in _PROGRAMS:
        found = shutil.which(name, path=path)
        if found is not None and (server := _server(Path(found), None)) is not None:
            return server
    return None


def select(simulation: Iterable[str], product: str) -> list[str]:
    """Choose what to download from the lines of `apt-get --simulate install`, in their order."""
    ours = {f"{product}-server", f"{product}-tools"}
    return [name for name in apt.named(simulation) if name in ours or _LIBRARY.fullmatch(name)]


def identify(said: str) -> tuple[str, str] | None:
    """Give product and version from what `redis-server --version` says, or None."""
    found = re.match(r"(Redis|Valkey) server v=(\d+(?:\.\d+)+)", said)
    return None if found is None else (found[1], found[2])


def _fetch(root: Path) -> None:
    if not apt.is_here():
        raise RedisNotFound(f"no Redis on this machine: {_INSTALL}")
    print("Redis: fetching the distribution's packages into the project …", file=sys.stderr)

    def build(work: Path, fresh: Path) -> None:
        packages = apt.Apt(work)
        try:
            product, simulation = "redis", packages.closure(["redis-server"])
        except PackagesNotHad:
            product, simulation = "valkey", packages.closure(["valkey-server"])
        packages.unpack(select(simulation, product), fresh)

    try:
        apt.provide(root, build)
    except PackagesNotHad as error:
        raise RedisNotFound(f"Redis's packages cannot be had here ({error}): {_INSTALL}") from None


def _servers(root: Path) -> Iterator[RedisServer]:
    libraries = next(iter(sorted(root.glob("usr/lib/*-linux-gnu*"))), None)
    for name in _PROGRAMS:
        server = _server(root / "usr/bin" / name, libraries)
        if server is not None:
            yield server


def _server(program: Path, libraries: Path | None) -> RedisServer | None:
    try:
        said = subprocess.run(
            [str(program), "--version"],
            env=os.environ | _environment(libraries),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except OSError:
        return None
    about = identify(said)
    if about is None:
        return None
    return RedisServer(program=program, product=about[0], version=about[1], libraries=libraries)


def _environment(libraries: Path | None) -> Mapping[str, str]:
    return {} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}
