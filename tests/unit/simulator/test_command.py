import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from simulator.faults import WORDS
from tests.unit.simulator.requests import CHAT, chat

COMMAND = [sys.executable, "-m", "simulator"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; give it and the address from its one line."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


def post(url: str) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(url + CHAT, json=chat())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_exits_with_0(tmp_path: Path, number: signal.Signals) -> None:
    port_file, log = tmp_path / "port", tmp_path / "log"
    with running("--port-file", str(port_file), "--log", str(log)) as (process, url):
        assert url == f"http://127.0.0.1:{port_file.read_text().strip()}"
        assert post(url).status_code == 200
        process.send_signal(number)
        assert process.wait(10) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "end"]


def test_options_reach_the_simulator(tmp_path: Path) -> None:
    script, key = tmp_path / "script.json", tmp_path / "key"
    script.write_text('[{"match": {"contains": "poison"}, "plan": "400!"}]')
    key.write_text("secret\n")
    options = ["--script", str(script), "--require-key-file", str(key), "--chaos", '{"502": 1}']
    with running(*options, "--latency", "fixed(0.01)", "--latency", "gpt=fixed(0)") as (_, url):
        assert post(url).status_code == 401
        headers = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            assert client.post(CHAT, json=chat("poison")).status_code == 400
            assert client.post(CHAT, json=chat("bread")).status_code == 502


def test_several_share_a_port_if_they_say_so() -> None:
    with running("--reuse-port") as (_, url):
        port = url.rpartition(":")[2]
        with running("--reuse-port", "--port", port) as (_, shared):
            assert shared == url
        refused = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, timeout=10, check=False
        )
    assert refused.returncode != 0


def test_limits_are_options() -> None:
    with running("--limit-requests", "1", "--limit-tokens", "1000") as (_, url):
        first, second = post(url), post(url)
    assert (first.status_code, second.status_code) == (200, 429)
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    options = [*COMMAND, "--die-with-parent", "--port-file", str(port_file)]
    program = f"import subprocess; print(subprocess.Popen({options!r}).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert post(parent.stdout.readline().split()[-1]).status_code == 200
            parent.kill()
            # The child holds the other end of this pipe: it reads as ended once the child is gone.
            assert not parent.stdout.read()
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise


@pytest.mark.parametrize(
    "options",
    [
        ["--tls-cert", "x"],
        ["--chaos", '{"nope": 1}'],
        ["--chaos", "{"],
        ["--latency", "soon"],
        ["--script", "/nonexistent"],
        ["--goaway-every", "0"],
        ["--limit-requests", "0"],
    ],
)
def test_a_wrong_option_is_told_with_exit_code_2(options: list[str]) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_a_taken_port_is_told_without_a_traceback() -> None:
    with running() as (_, url):
        port = url.rpartition(":")[2]
        done = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert port in done.stderr


def test_help_names_every_fault() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert [word for word in WORDS if word not in done.stdout] == []
