import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.faults.vhost import ROOT


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/good" else 503)
        self.end_headers()
        self.wfile.write(b"no consumer")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def check(url: str) -> tuple[int, str]:
    """Run the script as a container does, on the standard library alone."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "docker/healthcheck.py"), url],
        # A proxy of the environment must not be asked about the container itself.
        env={"http_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_good_answer_is_health(address: str) -> None:
    assert check(f"{address}/good") == (0, "")


def test_a_bad_answer_is_told_with_its_reason(address: str) -> None:
    status, said = check(f"{address}/readyz")
    assert status == 1
    assert "503 no consumer" in said


def test_nobody_there_is_no_health() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening: refused
        status, said = check(f"http://127.0.0.1:{unused.getsockname()[1]}/livez")
    assert status == 1
    assert "refused" in said
