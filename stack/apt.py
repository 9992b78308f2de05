"""Fetches the distribution's packages and unpacks them into a folder of ours: no root, nothing installed.

apt gets a configuration of its own, with its state beside the result. The machine's mirrors, proxies
and keys stay in force; its hooks do not, since they would tidy the system's package cache.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stack.errors import PackagesNotHad

_TIMEOUT_S = 300
_KEYRINGS = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")


def is_here() -> bool:
    """Tell whether this is a Debian-like system."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def provide(root: Path, build: Callable[[Path, Path], None]) -> None:
    """Let `build` fill the folder `root`: it gets a folder to work in, and the one that becomes `root`.

    Two processes may do this at once: each works in a folder of its own and the first one done wins.

    Raises:
        PackagesNotHad: apt failed; the text has its last word.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=root.parent) as work:
        fresh = Path(work) / "root"
        fresh.mkdir()
        build(Path(work), fresh)
        (fresh / "complete").write_text(str(root), encoding="utf-8")
        _move(fresh, root)


def is_complete(root: Path) -> bool:
    """Tell whether `root` was finished, and finished here: scripts in it hold absolute paths."""
    try:
        return (root / "complete").read_text(encoding="utf-8") == str(root)
    except OSError:
        return False


class Apt:
    """apt-get with all its state in one folder; `release`: of another Debian suite than the machine's."""

    def __init__(self, work: Path, *, release: str | None = None) -> None:
        self._work = work
        for folder in ("state/lists/partial", "cache/archives/partial", "log", "none", "debs"):
            (work / folder).mkdir(parents=True)
        (work / "state/status").touch()
        sources = None if release is None else _foreign_sources(work, release)
        written = work / "apt.conf"
        written.write_text(configuration(work, sources=sources), encoding="utf-8")
        self._apt = ["apt-get", "-c", str(written), "-q"]
        # A third-party source that does not answer fails the update, but not the packages we want.
        _run([*self._apt, "update"], cwd=work, check=False)

    def closure(self, wanted: Sequence[str]) -> list[str]:
        """Give the lines of `apt-get --simulate install`: these packages and all that they need."""
        return _run([*self._apt, "--simulate", "install", *wanted], cwd=self._work).splitlines()

    def unpack(self, names: Sequence[str], root: Path) -> None:
        """Download these packages alone, and unpack them into `root`."""
        _run([*self._apt, "download", *names], cwd=self._work / "debs")
        for package in sorted(self._work.glob("debs/*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(root)], cwd=root)


def named(simulation: Iterable[str]) -> list[str]:
    """Give the packages that lines of `closure` name, in their order."""
    return [line.split()[1] for line in simulation if line.startswith("Inst ")]


def debian_mirror(targets: Iterable[str]) -> str | None:
    """Find the machine's Debian mirror in lines of "<uri> <codename> <component>".

    A security or third-party archive has no other suites, so it is passed over.
    """
    for target in targets:
        uri, _, rest = target.partition(" ")
        if "debian" in uri and "security" not in uri and rest.split()[-1:] == ["main"]:
            return uri
    return None


def configuration(work: Path, *, sources: Path | None) -> str:
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


def _foreign_sources(work: Path, release: str) -> Path:
    query = ["apt-get", "indextargets", "-o", "APT::Get::IndexTargets::ReleaseInfo=false"]
    targets = _run([*query, "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"], cwd=work)
    mirror = debian_mirror(targets.splitlines())
    if mirror is None:
        raise PackagesNotHad(f"no Debian mirror in apt's sources to take suite {release!r} from")
    keyrings = (Path("/usr/share/keyrings") / name for name in _KEYRINGS)
    signed = next((f"[signed-by={path}] " for path in keyrings if path.exists()), "")
    sources = work / "sources.list"
    sources.write_text(f"deb {signed}{mirror} {release} main\n", encoding="utf-8")
    return sources


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
        raise PackagesNotHad(f"{command[0]} took more than {_TIMEOUT_S} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PackagesNotHad(f"{command[0]}: {said}")
    return done.stdout


def _move(fresh: Path, root: Path) -> None:
    if root.exists() and not is_complete(root):
        shutil.rmtree(root)
    try:
        fresh.rename(root)
    except OSError:
        if not is_complete(root):
            raise
