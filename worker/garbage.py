"""When and how often a process looks for cyclic garbage."""

import gc
from typing import Final

YOUNG: Final = 20_000
"""So many more objects made than ended start a look at the young ones, at least. CPython's 700 are reached by a few jobs that begin
together, and each look walks over what all calls in flight hold: an eighth of the CPU at 200 in flight, measured."""

PER_JOB: Final = 150
"""A job in flight holds two thirds of so many. Where thousands begin together, looks at what a part of them hold would find all of it in
use, and come again and again: a fifth of the CPU at 10,000 in flight, measured."""


def put_off() -> None:
    """Look for no garbage until `keep`: while modules are imported there is next to none, and each look takes longer than the one before."""
    gc.disable()


def keep() -> None:
    """Where that was put off, set what was made until now aside, for good, and look for garbage from here on."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def settle(*, jobs: int) -> None:
    """Set what was made until now aside, for good, and look for garbage more seldom.

    To be called once, when the worker stands: settings and price lists live as long as the process, and every
    full collection would walk over them. A job leaves next to no cycles behind, so what waits to be found is small: at most
    about what the `jobs` that are worked on at once hold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(YOUNG, PER_JOB * jobs), *gc.get_threshold()[1:])
