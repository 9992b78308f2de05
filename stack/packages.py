"""Unpacks the distribution's RabbitMQ and Erlang into a folder of ours: no root, nothing installed."""

import ctypes
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from stack import apt
from stack.errors import BrokerNotFound, PackagesNotHad
from stack.transplant import mend_launchers, wrap_programs

_INSTALL = (
    "install RabbitMQ 3.10 or newer (Debian and Ubuntu: apt-get install rabbitmq-server; "
    "macOS: brew install rabbitmq; Fedora: dnf install rabbitmq-server) and try again"
)
# Libraries of the newer suite that its Erlang needs; the rest of the closure (Python, Perl, a shell)
# serves maintainer scripts that never run here.
_FOREIGN_LIBRARY = re.compile(r"(lib(?!python|perl)[a-z0-9.+-]+|zlib1g)(:\w+)?")


def unpack(cache: Path, *, release: str | None = None) -> Path:
    """Give the root folder of the unpacked packages, fetching them if `cache` has none yet.

    Raises:
        BrokerNotFound: This is not a Debian-like system, or the packages cannot be had.
    """
    root = cache.absolute() / f"rabbitmq-{release or 'distribution'}"
    if apt.is_complete(root):
        return root
    if not apt.is_here():
        raise BrokerNotFound(f"no RabbitMQ on this machine: {_INSTALL}")
    print("RabbitMQ: fetching the distribution's packages into the project …", file=sys.stderr)

    def build(work: Path, fresh: Path) -> None:
        _fill(work, fresh, release=release)
        if release is None:
            mend_launchers(fresh, root, libraries=_has_libraries(fresh))
        else:
            mend_launchers(fresh, root, libraries=False)
            wrap_programs(fresh, root)

    try:
        apt.provide(root, build)
    except PackagesNotHad as error:
        raise BrokerNotFound(
            f"RabbitMQ's packages cannot be had here ({error}): {_INSTALL}"
        ) from None
    return root


def is_unpacked(cache: Path) -> bool:
    """Tell whether the distribution's packages lie in `cache`, ready to run."""
    return apt.is_complete(cache.absolute() / "rabbitmq-distribution")


def select(simulation: Iterable[str], *, libraries: bool) -> list[str]:
    """Choose what to download from the lines of `apt-get --simulate install`, in their order.

    RabbitMQ and Erlang always; the shared libraries too if they come from another suite than the
    machine's own (`libraries`).
    """
    return [
        name
        for name in apt.named(simulation)
        if name == "rabbitmq-server"
        or name.startswith("erlang-")
        or (libraries and _FOREIGN_LIBRARY.fullmatch(name))
    ]


def _fill(work: Path, fresh: Path, *, release: str | None) -> None:
    packages = apt.Apt(work, release=release)
    wanted = ["rabbitmq-server"]
    if release is None and not _loads("libcrypto.so.3"):
        wanted += ["openssl"]
    simulation = packages.closure(wanted)
    chosen = select(simulation, libraries=release is not None)
    if len(wanted) > 1:
        chosen += [name for name in select(simulation, libraries=True) if name.startswith("libssl")]
    packages.unpack(chosen, fresh)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_libraries(root: Path) -> bool:
    return any(root.glob("usr/lib/*-linux-gnu*/libcrypto.so.*"))
