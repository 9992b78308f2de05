"""`python -m stack COMMAND …`: what `./dev` becomes once the Python packages are there."""

import sys

from stack.commands import find, run, usage
from stack.interrupts import heed


def main() -> int:
    """Carry out the command that the command line names."""
    command = find(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is None:
        print(usage(), file=sys.stderr)
        return 2
    heed()
    return run(command, sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
