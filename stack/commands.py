"""The commands of `./dev`, one row each; a new command is a new row.

A row's target is imported when the command is asked for, not before: the table itself must load on a
bare machine.
"""

import sys
from dataclasses import dataclass
from importlib import import_module

from stack.errors import StackError


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: what to type, what it does, and the function "module:name" that does it.

    The function gets the remaining arguments and gives the exit status. Without `needs_packages` it
    runs before `.venv` exists, on the standard library alone. `explained` is what `--help` tells of a command that
    reads no options of its own; None: the command itself tells.
    """

    name: str
    summary: str
    target: str
    needs_packages: bool = True
    explained: str | None = None


_TEST = """\
usage: ./dev test [ARGUMENT ...]

Lint, format, types, import rules, every test, and three minutes of chaos, one after the other up to the first that fails.
With arguments, which go to pytest, only the tests that they choose, and no chaos.

  ./dev test -k replay -x               only some, stop at the first that fails
  ./dev test tests/unit                 only a folder's

Environment: WARREN_SEED, of the chaos (1). WARREN_TEST_RELEASE, a Debian release (trixie, sid) on whose RabbitMQ and
Valkey some tests run again. Exit status: that of the first check that fails, or 0."""
_SECRETS = """\
usage: ./dev secrets

Make the passwords, keys and broker definitions that docker-compose.yml mounts, in .warren/secrets. A second run keeps
what is there and renews the definitions: run it after an update. Exit status: 0 made, 1 not."""
_LOCK = """\
usage: ./dev lock [ARGUMENT ...]

Resolve pyproject.toml anew into requirements/*.lock, every package with its hashes. Needs uv; arguments go to it.

  ./dev lock --upgrade                  take the newest of everything

Exit status: 0 written, 1 not."""

COMMANDS = (
    Command(
        name="demo",
        summary="the main job from nothing to `lost 0`, in about a minute",
        target="stack.demo:main",
    ),
    Command(
        name="up",
        summary="start broker, simulator and two workers, and leave them running",
        target="stack.living:up",
    ),
    Command(name="status", summary="tell what runs and where", target="stack.living:status"),
    Command(name="down", summary="stop what `up` started", target="stack.living:down"),
    Command(
        name="test",
        summary="lint, types, import rules and every test; arguments go to pytest",
        target="stack.checks:main",
        explained=_TEST,
    ),
    Command(
        name="chaos",
        summary="try to break Warren's promise, and tell what was measured; about 110 minutes, or --minutes",
        target="stack.checks:chaos",
    ),
    Command(
        name="bench",
        summary="compare Warren with its neighbours and with itself on this machine; --quick for three minutes",
        target="stack.bench:main",
    ),
    Command(
        name="doctor",
        summary="tell what stands in the way on this machine, and the line that mends it",
        target="stack.doctor:main",
        needs_packages=False,
    ),
    Command(
        name="secrets",
        summary="make the passwords and keys that docker-compose.yml mounts",
        target="stack.mounted:main",
        needs_packages=False,
        explained=_SECRETS,
    ),
    Command(
        name="lock",
        summary="pin every Python package anew in requirements/*.lock",
        target="stack.locks:main",
        needs_packages=False,
        explained=_LOCK,
    ),
)


def usage() -> str:
    """Give the help text."""
    width = max(len(command.name) for command in COMMANDS)
    rows = "\n".join(f"  {command.name:{width}}  {command.summary}" for command in COMMANDS)
    return f"""\
usage: ./dev COMMAND [ARGUMENT ...]

Makes everything that Warren needs, inside this folder, and runs it. Root is not needed, nothing is
installed on the system, and a second run starts at once.

{rows}

What it makes:
  .venv/    Python packages, exactly those of requirements/dev.lock (checked by hash)
  .warren/  RabbitMQ, its data and the passwords generated for it; for ./dev bench the peers' packages

To begin again from nothing, stop what runs and delete both. Each command has --help. Examples:
  ./dev demo --endpoints           a slow, a failing and a limited endpoint, as a live table
  ./dev test                       all that CI checks
  ./dev test -k replay -x          only some tests, stop at the first that fails
  ./dev chaos --minutes 10         all experiments, cut down to ten minutes
"""


def find(name: str) -> Command | None:
    """Give the command of that name, if there is one."""
    return next((command for command in COMMANDS if command.name == name), None)


def run(command: Command, arguments: list[str]) -> int:
    """Carry a command out; what a person can act on becomes one line and exit status 1."""
    if command.explained is not None and arguments[:1] in (["-h"], ["--help"]):
        print(command.explained)
        return 0
    module, _, name = command.target.partition(":")
    try:
        status: int = getattr(import_module(module), name)(arguments)
    except StackError as error:
        print(f"./dev {command.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status
