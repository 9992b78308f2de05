"""`python -m stack COMMAND …`: what `./dev` becomes once the Python packages are there."""

import sys

from stack import interrupts
from stack.commands import find, run, usage


def main() -> int:
    """Carry out the command that the command line names."""
    command = find(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is None:
        print(usage(), file=sys.stderr)
        return 2
    interrupts.heed()
    try:
        return run(command, sys.argv[2:])
    finally:
        interrupts.done()


if __name__ == "__main__":
    sys.exit(main())
