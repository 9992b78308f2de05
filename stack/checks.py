"""`./dev test`: every check of the project, one after the other, up to the first that fails; and `./dev chaos`.

The tests run on the machine's RabbitMQ (Debian 12: 3.10). With WARREN_TEST_RELEASE, as in CI, those of the integration
tests that speak to the broker run again on the RabbitMQ of that Debian release (trixie: 4.0, sid: 4.3), and those of the second
store on its Valkey (trixie: 8.1), where they can be had.
All tests run in as many processes as there are processors, since most wait for others' processes most of the time.
The last step is a few minutes of chaos, from the seed WARREN_SEED or 1. Arguments choose among the tests, and then there is
no chaos.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from stack import interrupts
from stack.errors import BrokerNotFound, PrometheusNotFound, RedisNotFound
from stack.prometheuspackages import find_prometheus
from stack.redispackages import find_redis
from stack.server import find_server

_ROOT = Path(__file__).parent.parent
_CHAOS = [sys.executable, "-m", "tests.chaos"]
_CHAOS_MINUTES = 3


def main(arguments: list[str]) -> int:
    """Run the checks; `arguments` go to pytest. Gives the status of the first that fails, or 0."""
    release = os.environ.get("WARREN_TEST_RELEASE")
    _fetch_servers()
    for name, command in [*steps(arguments), *_again(release, arguments), *_slice(arguments)]:
        print(f"── {name} ", flush=True)
        begin = time.monotonic()
        status = interrupts.run(command, _ROOT)
        took = time.monotonic() - begin
        if status:
            print(f"── {name} failed after {took:.0f} s", file=sys.stderr)
            return status
        print(f"── {name} passed in {took:.0f} s", flush=True)
    return 0


def _fetch_servers() -> None:
    """Have the servers that the tests start unpacked: test processes side by side would all begin to."""
    cache = _ROOT / ".warren/servers"
    for find in (find_server, find_redis, find_prometheus):
        with suppress(
            BrokerNotFound, RedisNotFound, PrometheusNotFound
        ):  # the tests tell what is missing
            find(cache)


def _side_by_side(arguments: list[str]) -> list[str]:
    """Give pytest's arguments: all tests at once in a process for each processor, or as somebody asks for."""
    return arguments or ["-n", str(os.cpu_count() or 1), "--dist", "worksteal"]


def chaos(arguments: list[str]) -> int:
    """Become the chaos run: a process in between would have to pass on Ctrl-C, and might die first."""
    os.chdir(_ROOT)
    command = [*_CHAOS, *arguments]
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606  # our own Python, no shell


def _newer(release: str | None, arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Give the step on a newer RabbitMQ, or none and the reason."""
    if not release:
        return []
    try:
        server = find_server(_ROOT / ".warren/servers", release=release)
    except BrokerNotFound as error:
        print(f"── no tests on the RabbitMQ of {release}: {error}", flush=True)
        return []
    # What speaks to the broker; how one is found, started and given up does not depend on its version.
    suites = sorted(
        path
        for pattern in ("test_broker_*.py", "test_producer_sdk.py", "test_doctor.py")
        for path in (_ROOT / "tests/integration").glob(pattern)
    )
    command = [sys.executable, "-m", "pytest", *map(str, suites), "--broker-release", release]
    return [(f"tests on RabbitMQ {server.version}", [*command, *arguments])]


def _again(release: str | None, arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Give the steps on servers of that release."""
    return [*_newer(release, arguments), *_valkey(release, arguments)]


def _valkey(release: str | None, arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Give the step on a Valkey, or none and the reason."""
    if not release:
        return []
    try:
        server = find_redis(_ROOT / ".warren/servers", release=release)
    except RedisNotFound as error:
        print(f"── no tests on the Valkey of {release}: {error}", flush=True)
        return []
    # The suites that say what a store promises; the long random ones have run on the machine's own Redis.
    suites = sorted(
        path
        for pattern in (
            *("contract/test_archive.py", "contract/test_cache.py", "contract/test_lane_orders.py"),
            *("contract/test_ledger_[a-ln-s]*.py", "contract/test_rationing.py"),
            "contract/test_spend.py",
            "integration/test_redis_*.py",
        )
        for path in (_ROOT / "tests").glob(pattern)
    )
    command = [sys.executable, "-m", "pytest", "-m", "redis", *map(str, suites)]
    name = f"tests on {server.product} {server.version}"
    return [(name, [*command, "--redis-release", release, *arguments])]


def _slice(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Give the step of chaos, cut down to minutes and seeded, unless only some tests are wanted."""
    if arguments:
        return []
    seed = os.environ.get("WARREN_SEED", "1")
    minutes = str(_CHAOS_MINUTES)
    return [("chaos", [*_CHAOS, "--ci", "--minutes", minutes, "--seed", seed])]


def steps(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Give each check's name and command, in order: cheap ones first."""
    python = [sys.executable, "-m"]
    # Its own launcher: import-linter has no `python -m` form.
    importlinter = (
        "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    )
    return [
        ("lint", [*python, "ruff", "check"]),
        ("format", [*python, "ruff", "format", "--check"]),
        ("types", [*python, "mypy"]),
        ("imports", [sys.executable, "-c", importlinter]),
        ("tests", [*python, "pytest", *_side_by_side(arguments)]),
    ]
