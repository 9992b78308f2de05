"""`./dev bench`: makes the environment of Warren's peers, then becomes `benchmarks/bench.py`.

That environment is `.warren/peers`, made of requirements/peers.lock by hash. Neither `.venv` nor `./dev test` has anything of it.
"""

import os
import sys
from contextlib import redirect_stdout
from typing import Final

from stack.bootstrap import ROOT, ensure

PEERS: Final = ".warren/peers"
# What needs no peer.
_MEASURES_NOTHING: Final = frozenset({"-h", "--help", "targets"})
_BENCH: Final = (sys.executable, "-m", "benchmarks.bench")


def main(arguments: list[str]) -> int:
    """Become the benchmark: a process in between would have to pass on Ctrl-C, and might die first.

    Raises:
        StackError: the peers' packages cannot be had; the text says why.
    """
    if not _MEASURES_NOTHING & set(arguments):
        with redirect_stdout(sys.stderr):  # a program may read what the benchmark prints
            ensure(ROOT, place=PEERS, lock_name="peers")
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(_BENCH[0], [*_BENCH, *arguments])  # noqa: S606  # our own Python, no shell
    raise AssertionError("execv returned")
