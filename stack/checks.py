"""`./dev test`: every check of the project, one after the other, up to the first that fails."""

import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    """Run the checks; `arguments` go to pytest. Gives the status of the first that fails, or 0."""
    for name, command in steps(arguments):
        print(f"── {name} ", flush=True)
        begin = time.monotonic()
        status = subprocess.run(command, cwd=_ROOT, check=False).returncode
        took = time.monotonic() - begin
        if status:
            print(f"── {name} failed after {took:.0f} s", file=sys.stderr)
            return status
        print(f"── {name} passed in {took:.0f} s", flush=True)
    return 0


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
        ("tests", [*python, "pytest", *arguments]),
    ]
