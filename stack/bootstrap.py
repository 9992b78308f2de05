"""Makes sure of `.venv`, then becomes `.venv/bin/python -m stack`. Standard library only.

A stamp in `.venv` tells what it was made from: the locks, the Python, and the project's place. While it
matches, nothing is done.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import commands, indexes, locks
from stack.errors import StackError

ROOT = Path(__file__).parent.parent

_LAUNCHER = """\
#!/bin/sh
'''exec' {python} "$0" "$@"
' '''
import sys

from worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
"""


def main() -> int:
    """Do what `./dev` was asked for."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"help", "-h", "--help"}:
        print(commands.usage())
        return 0
    command = commands.find(arguments[0])
    if command is None:
        print(f"./dev: there is no command {arguments[0]!r}\n", file=sys.stderr)
        print(commands.usage(), file=sys.stderr)
        return 2
    if not command.needs_packages:
        return commands.run(command, arguments[1:])
    try:
        python = ensure(ROOT)
    except StackError as error:
        print(f"./dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(python, [str(python), "-m", "stack", *arguments])  # noqa: S606 - no shell is wanted
    raise AssertionError("execv returned")


def ensure(root: Path, *, place: str = ".venv", lock_name: str = "dev") -> Path:
    """Give the Python of the environment at `place` that has exactly a lock's versions, making it if need be.

    Raises:
        StackError: It cannot be made; the text says why.
    """
    venv, lock = root / place, root / f"requirements/{lock_name}.lock"
    python = venv / "bin/python"
    (root / ".warren").mkdir(exist_ok=True)
    with (root / ".warren/bootstrap.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # a second ./dev waits here, then finds the work done
        wanted = stamp(root, sys.version_info[:3])
        if is_current(root, place):
            return python
        begin = time.monotonic()
        print(
            f"Python packages: installing {locks.count(lock)}, for up to a minute or two …",
            end="",
            flush=True,
        )
        try:
            _create(venv, root)
            _install(venv, lock)
        except StackError:
            print()
            raise
        _link_project(root, venv)
        (venv / "warren-stamp").write_text(wanted, encoding="utf-8")
        print(f" {time.monotonic() - begin:.0f} s", flush=True)
    return python


def is_current(root: Path, place: str = ".venv") -> bool:
    """Tell whether the environment at `place` is there and was made from what is here now."""
    venv = root / place
    wanted = stamp(root, sys.version_info[:3])
    return _read(venv / "warren-stamp") == wanted and (venv / "bin/python").exists()


def stamp(root: Path, version: Sequence[int]) -> str:
    """Tell an environment's ingredients in one line: two equal stamps, one environment.

    The place counts, because launchers hold absolute paths.
    """
    digest = hashlib.sha256()
    for lock in sorted((root / "requirements").glob("*.lock")):
        digest.update(lock.name.encode() + b"\0" + lock.read_bytes() + b"\0")
    return f"{'.'.join(map(str, version))} {digest.hexdigest()} {root.absolute()}"


def _create(venv: Path, root: Path) -> None:
    """Make an empty environment, unless a working one of this Python and this place is there."""
    before = _read(venv / "warren-stamp").split(maxsplit=2)
    here = [".".join(map(str, sys.version_info[:3])), str(root.absolute())]
    python = venv / "bin/python"
    if python.exists() and (not before or [before[0], before[-1]] == here) and _answers(python):
        return
    uv = shutil.which("uv")
    if uv is not None:
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], {})
        return
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(venv)], {})
    except StackError as error:
        raise StackError(
            "this Python cannot make virtual environments; install uv, or Python's venv module "
            f"(Debian, Ubuntu: apt-get install python3-venv)\n{error}"
        ) from None


def _answers(python: Path) -> bool:
    """Tell whether that Python runs, and is the same minor version as this one."""
    return runs(python, f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})")


def runs(python: Path, code: str = "") -> bool:
    """Tell whether that Python runs this code, by default none, with success."""
    try:
        done = subprocess.run([str(python), "-I", "-c", code], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _install(venv: Path, lock: Path) -> None:
    python = str(venv / "bin/python")
    asked = ["--require-hashes", "--no-deps", "-r", str(lock)]
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", python, *asked]
        # Look in every index, as pip does; the hashes decide which files are the right ones.
        command += ["--index-strategy", "unsafe-best-match"]
        _run(command, indexes.uv_environment())
        return
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    _run([python, "-m", "pip", "install", *quiet, *asked], {})


def _link_project(root: Path, venv: Path) -> None:
    """Let the environment import the project from its source tree, and give it `bin/warren`.

    The launcher's first lines are both shell and Python: a plain "#!" line can bear neither spaces
    nor long paths.
    """
    packages = next(venv.glob("lib/python3.*/site-packages"))
    (packages / "warren.pth").write_text(f"{root.absolute()}\n", encoding="utf-8")
    launcher = venv / "bin/warren"
    python = shlex.quote(str((venv / "bin/python").absolute()))
    launcher.write_text(_LAUNCHER.format(python=python), encoding="utf-8")
    launcher.chmod(0o755)


def _run(command: Sequence[str], more: Mapping[str, str]) -> None:
    """Run quietly; what the command said is told only if it failed."""
    environment = {**os.environ, **more}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise StackError(f"`{shlex.join(command[:4])} …` failed:\n{tail}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
