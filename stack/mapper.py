"""Owns the port mapper that the nodes of a cluster share, and ends it with whoever started it.

Runs as a process of its own, `python -I -S mapper.py ADDRESS PORT PARENT_FD`. PARENT_FD is the read end of a pipe:
when its other end closes, which the kernel does for a parent that was killed, the mapper is killed. It imports nothing
of the project. A node's own mapper belongs to its keeper and dies with the node; this one must outlive every node.
"""

import select
import subprocess
import sys


def main() -> None:
    """Start the mapper, wait for the parent's end or its own, and leave nothing."""
    address, port, parent = sys.argv[1], sys.argv[2], int(sys.argv[3])
    mapper = subprocess.Popen(["epmd", "-address", address, "-port", port])
    try:
        while mapper.poll() is None and not select.select([parent], [], [], 0.25)[0]:
            pass
    finally:
        mapper.kill()
        mapper.wait()


if __name__ == "__main__":
    main()
