"""`./dev lock`: writes `requirements/*.lock` anew from pyproject.toml, with uv.

Each lock holds exact versions for every supported platform and Python, with the hashes of all their
files, and no address: where packages come from is the machine's affair.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.errors import StackError
from stack.indexes import uv_environment

_ROOT = Path(__file__).parent.parent
_SETS = {
    "base": ["pyproject.toml"],
    "worker": [
        "pyproject.toml",
        *("--extra", "worker", "--extra", "redis", "--extra", "simulator"),
        *("--extra", "vault", "--extra", "aws", "--extra", "gcp", "--extra", "azure"),
    ],
    "build": ["--group", "build"],
    "peers": ["--group", "peers"],
    "dev": ["pyproject.toml", "--all-extras", "--group", "dev"],
}
_ADDRESS = re.compile(r"\w+://")


def main(arguments: list[str]) -> int:
    """Regenerate the locks; `arguments` go to uv, such as `--upgrade`."""
    uv = _find_uv()
    environment = {**os.environ, **uv_environment(primary_only=True)}
    # dev first: it holds all the others but the peers, and they take its versions.
    for name in ("dev", "worker", "base", "build", "peers"):
        target = _ROOT / f"requirements/{name}.lock"
        command = [uv, "pip", "compile", *_SETS[name]]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"]
        command += ["-o", f"requirements/{name}.lock"]
        if name == "dev":
            command += arguments
        else:
            command += ["-c", "requirements/dev.lock"]
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StackError(f"uv could not resolve {name}.lock: {done.stderr.strip()}")
        check_addresses(target)
        print(f"requirements/{name}.lock: {count(target)} packages")
    return 0


def count(lock: Path) -> int:
    """Count the packages that a lock pins."""
    text = lock.read_text(encoding="utf-8")
    return len(re.findall(r"^[a-z0-9][\w.-]*==", text, re.MULTILINE | re.IGNORECASE))


def check_addresses(lock: Path) -> None:
    """Refuse a lock that tells where its packages came from.

    Raises:
        StackError: There is an address in it.
    """
    if found := _ADDRESS.search(lock.read_text(encoding="utf-8")):
        raise StackError(f"{lock.name} holds an address ({found[0]}…); no lock may name a host")


def _find_uv() -> str:
    local = _ROOT / ".venv/bin/uv"
    found = shutil.which("uv") or (str(local) if local.exists() else None)
    if found is None:
        raise StackError("uv makes the locks and is not here: `pip install uv`, then try again")
    return found
