"""Where Prometheus and its promtool are: installed on the machine, or the distribution's package, unpacked into the project.

Tests alone use them: promtool checks rules and pages of metrics, and a real server reads what the dashboard asks for.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from stack import apt
from stack.errors import PackagesNotHad, PrometheusNotFound

_INSTALL = (
    "install Prometheus 2.42 or newer (Debian and Ubuntu: apt-get install prometheus; "
    "macOS: brew install prometheus) and try again"
)
_FOLDERS = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """The two programs of one version."""

    server: Path
    promtool: Path


def find_prometheus(cache: Path) -> Prometheus:
    """Give Prometheus' programs, fetching them into `cache` when the machine has none.

    The system is never touched, root is not needed, and a second call finds the first one's work.

    Raises:
        PrometheusNotFound: There are none, and none can be fetched; the text says what to install.
    """
    if (found := installed()) is not None:
        return found
    root = cache.absolute() / "prometheus-distribution"
    if not apt.is_complete(root):
        _fetch(root)
    folder = root / "usr/bin"
    return Prometheus(server=folder / "prometheus", promtool=folder / "promtool")


def installed() -> Prometheus | None:
    """Give the programs that are installed on this machine, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS])
    server, promtool = (shutil.which(name, path=path) for name in ("prometheus", "promtool"))
    if server is None or promtool is None:
        return None
    return Prometheus(server=Path(server), promtool=Path(promtool))


def _fetch(root: Path) -> None:
    if not apt.is_here():
        raise PrometheusNotFound(f"no Prometheus on this machine: {_INSTALL}")
    print("Prometheus: fetching the distribution's package into the project …", file=sys.stderr)

    def build(work: Path, fresh: Path) -> None:
        # Both programs need the C library alone; what else the package depends on serves the system's service.
        apt.Apt(work).unpack(["prometheus"], fresh)

    try:
        apt.provide(root, build)
    except PackagesNotHad as error:
        raise PrometheusNotFound(
            f"Prometheus' package cannot be had here ({error}): {_INSTALL}"
        ) from None
