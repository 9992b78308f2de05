"""Unpacks the distribution's RabbitMQ and Erlang into a folder of ours: no root, nothing installed.

apt gets a configuration of its own, with its state beside the result. The machine's mirrors, proxies
and keys stay in force; its hooks do not, since they would tidy the system's package cache.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from stack.errors import BrokerNotFound
from stack.transplant import mend_launchers, wrap_programs

_INSTALL = (
    "install RabbitMQ 3.10 or newer (Debian and Ubuntu: apt-get install rabbitmq-server; "
    "macOS: brew install rabbitmq; Fedora: dnf install rabbitmq-server) and try again"
)
_TIMEOUT_S = 300
_KEYRINGS = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")
# Libraries of the newer suite that its Erlang needs; the rest of the closure (Python, Perl, a shell)
# serves maintainer scripts that never run here.
_FOREIGN_LIBRARY = re.compile(r"(lib(?!python|perl)[a-z0-9.+-]+|zlib1g)(:\w+)?")


def unpack(cache: Path, *, release: str | None = None) -> Path:
    """Give the root folder of the unpacked packages, fetching them if `cache` has none yet.

    Two processes may do this at once: each works in a folder of its own and the first one done wins.

    Raises:
        BrokerNotFound: This is not a Debian-like system, or the packages cannot be had.
    """
    cache = cache.absolute()
    root = cache / f"rabbitmq-{release or 'distribution'}"
    if _complete(root):
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BrokerNotFound(f"no RabbitMQ on this machine: {_INSTALL}")
    print("RabbitMQ: fetching the distribution's packages into the project …", file=sys.stderr)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
        fresh = Path(work) / "root"
        _download(Path(work), release=release)
        _extract(sorted(Path(work).glob("debs/*.deb")), fresh)
        if release is None:
            mend_launchers(fresh, root, libraries=_has_libraries(fresh))
        else:
            mend_launchers(fresh, root, libraries=False)
            wrap_programs(fresh, root)
        (fresh / "complete").write_text(str(root), encoding="utf-8")
        _move(fresh, root)
    return root


def is_unpacked(cache: Path) -> bool:
    """Tell whether the distribution's packages lie in `cache`, ready to run."""
    return _complete(cache.absolute() / "rabbitmq-distribution")


def select(simulation: Iterable[str], *, libraries: bool) -> list[str]:
    """Choose what to download from the lines of `apt-get --simulate install`, in their order.

    RabbitMQ and Erlang always; the shared libraries too if they come from another suite than the
    machine's own (`libraries`).
    """
    names = [line.split()[1] for line in simulation if line.startswith("Inst ")]
    return [
        name
        for name in names
        if name == "rabbitmq-server"
        or name.startswith("erlang-")
        or (libraries and _FOREIGN_LIBRARY.fullmatch(name))
    ]


def debian_mirror(targets: Iterable[str]) -> str | None:
    """Find the machine's Debian mirror in lines of "<uri> <codename> <component>".

    A security or third-party archive has no other suites, so it is passed over.
    """
    for target in targets:
        uri, _, rest = target.partition(" ")
        if "debian" in uri and "security" not in uri and rest.split()[-1:] == ["main"]:
            return uri
    return None


def apt_configuration(work: Path, *, sources: Path | None) -> str:
    """Write apt's configuration: all state under `work`, no hooks, no locks, no change of user."""
    lines = [
        "#clear APT::Update::Pre-Invoke;",
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
        f'Dir::State "{work}/state";',
        f'Dir::State::lists "{work}/state/lists";',
        f'Dir::State::status "{work}/state/status";',
        f'Dir::Cache "{work}/cache";',
        f'Dir::Cache::archives "{work}/cache/archives";',
        f'Dir::Log "{work}/log";',
        'Debug::NoLocking "1";',
        'APT::Sandbox::User "";',
        'APT::Install-Recommends "false";',
        'Acquire::Languages "none";',
        'Acquire::Retries "2";',
        'Acquire::http::Timeout "30";',
        'Acquire::https::Timeout "30";',
    ]
    if sources is not None:
        lines += [
            f'Dir::Etc::sourcelist "{sources}";',
            f'Dir::Etc::sourceparts "{work}/none";',
            'Acquire::Check-Valid-Until "false";',  # an unstable suite's mirror may stand still
        ]
    return "\n".join(lines) + "\n"


def _download(work: Path, *, release: str | None) -> None:
    for folder in ("state/lists/partial", "cache/archives/partial", "log", "none", "debs"):
        (work / folder).mkdir(parents=True)
    (work / "state/status").touch()
    sources = None if release is None else _foreign_sources(work, release)
    configuration = work / "apt.conf"
    configuration.write_text(apt_configuration(work, sources=sources), encoding="utf-8")
    apt = ["apt-get", "-c", str(configuration), "-q"]
    # A third-party source that does not answer fails the update, but not the packages we want.
    _run([*apt, "update"], cwd=work, check=False)
    wanted = ["rabbitmq-server"]
    if release is None and not _loads("libcrypto.so.3"):
        wanted += ["openssl"]
    simulation = _run([*apt, "--simulate", "install", *wanted], cwd=work).splitlines()
    chosen = select(simulation, libraries=release is not None)
    if len(wanted) > 1:
        chosen += [name for name in select(simulation, libraries=True) if name.startswith("libssl")]
    _run([*apt, "download", *chosen], cwd=work / "debs")


def _foreign_sources(work: Path, release: str) -> Path:
    query = ["apt-get", "indextargets", "-o", "APT::Get::IndexTargets::ReleaseInfo=false"]
    targets = _run([*query, "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"], cwd=work)
    mirror = debian_mirror(targets.splitlines())
    if mirror is None:
        raise BrokerNotFound(f"no Debian mirror in apt's sources to take suite {release!r} from")
    keyrings = (Path("/usr/share/keyrings") / name for name in _KEYRINGS)
    signed = next((f"[signed-by={path}] " for path in keyrings if path.exists()), "")
    sources = work / "sources.list"
    sources.write_text(f"deb {signed}{mirror} {release} main\n", encoding="utf-8")
    return sources


def _extract(packages: Sequence[Path], root: Path) -> None:
    root.mkdir()
    for package in packages:
        _run(["dpkg-deb", "-x", str(package), str(root)], cwd=root)


def _run(command: Sequence[str], *, cwd: Path, check: bool = True) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerNotFound(f"{command[0]} took more than {_TIMEOUT_S} s: {_INSTALL}") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BrokerNotFound(f"RabbitMQ's packages cannot be had here ({said}): {_INSTALL}")
    return done.stdout


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _has_libraries(root: Path) -> bool:
    return any(root.glob("usr/lib/*-linux-gnu*/libcrypto.so.*"))


def _complete(root: Path) -> bool:
    """Tell whether `root` was finished, and finished here: its scripts hold absolute paths."""
    try:
        return (root / "complete").read_text(encoding="utf-8") == str(root)
    except OSError:
        return False


def _move(fresh: Path, root: Path) -> None:
    if root.exists() and not _complete(root):
        shutil.rmtree(root)
    try:
        fresh.rename(root)
    except OSError:
        if not _complete(root):
            raise
